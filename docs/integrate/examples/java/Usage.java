// A shop that sells compute hours and records their usage with JDBC, in its own transactions.

import java.io.StringReader;
import java.math.BigDecimal;
import java.net.URI;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.util.PSQLException;

public class Usage {
    static final String TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    record Event(String id, BigDecimal hours, OffsetDateTime usedAt, String requestId, String traceparent,
                 String corrects) {}

    /** In the transaction that is open on this connection. The types are exact: numeric and timestamptz. */
    static UUID record(Connection db, Event event) throws SQLException {
        String call = """
            select postmeter.record_usage(
                source => 'shop', event_id => ?, org => 'acme', product => 'compute', metric => 'hours',
                quantity => ?, used_at => ?, request_id => ?, traceparent => ?, corrects => ?)""";
        try (PreparedStatement statement = db.prepareStatement(call)) {
            statement.setString(1, event.id());
            statement.setBigDecimal(2, event.hours());
            statement.setObject(3, event.usedAt());
            statement.setString(4, event.requestId());
            statement.setString(5, event.traceparent());
            statement.setString(6, event.corrects());
            try (ResultSet row = statement.executeQuery()) {
                row.next();
                return row.getObject(1, UUID.class);
            }
        }
    }

    static void execute(Connection db, String sql, String... values) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                statement.setString(i + 1, values[i]);
            }
            statement.execute();
        }
    }

    interface Work<T> {
        T run() throws Exception;
    }

    static <T> T transaction(Connection db, Work<T> work) throws Exception {
        db.setAutoCommit(false);
        try {
            T result = work.run();
            db.commit();
            return result;
        } catch (Exception error) {
            db.rollback();
            throw error;
        } finally {
            db.setAutoCommit(true);
        }
    }

    /** Our own row and its usage: both are there after the commit, or neither. */
    static UUID finishJob(Connection db, Event event) throws Exception {
        return transaction(db, () -> {
            execute(db, "insert into job (id, org) values (?, 'acme')", event.id());
            return record(db, event);
        });
    }

    /** The same event id with another content is a defect of ours. Keep our row, flag it, go on. */
    static UUID recordOrFlag(Connection db, String job, Event event) throws Exception {
        return transaction(db, () -> {
            execute(db, "insert into job (id, org) values (?, 'acme')", job);
            Savepoint savepoint = db.setSavepoint();
            try {
                return record(db, event);
            } catch (PSQLException error) {
                if (!"PM002".equals(error.getSQLState())) {
                    throw error;
                }
                db.rollback(savepoint);
                String flaw = error.getServerErrorMessage().getMessage();
                execute(db, "update job set flaw = ? where id = ?", flaw, job);
                return null;
            }
        });
    }

    /** Many usages in one round trip. What is refused does not stop the rest: look at the verdicts. */
    static List<String> recordMany(Connection db, String usages) throws Exception {
        String call = """
            select to_jsonb(verdicts) - 'usage_id' - 'message' as verdict
            from postmeter.record_usage_batch(?::jsonb) verdicts order by item""";
        return transaction(db, () -> {
            List<String> verdicts = new ArrayList<>();
            try (PreparedStatement statement = db.prepareStatement(call)) {
                statement.setString(1, usages);
                try (ResultSet rows = statement.executeQuery()) {
                    while (rows.next()) {
                        verdicts.add(rows.getString(1));
                    }
                }
            }
            return verdicts;
        });
    }

    /** Less than was recorded: a usage of its own below zero, in the hour of the one that it corrects. */
    static UUID refund(Connection db, Event event, BigDecimal hours) throws Exception {
        String id = event.id() + "-refund";
        return transaction(
            db, () -> record(db, new Event(id, hours.negate(), event.usedAt(), null, null, event.id())));
    }

    /** The fastest way in, for back-filling. One refused row refuses all; run again, it changes nothing. */
    static long copy(Connection db, String csv) throws Exception {
        String copy = """
            copy postmeter.outbox (source, event_id, org, product, metric, quantity, used_at)
            from stdin (format csv)""";
        return transaction(db, () -> db.unwrap(PGConnection.class).getCopyAPI().copyIn(copy, new StringReader(csv)));
    }

    /** A usage for the batch. Your JSON library writes it; quantities are text, so that they stay exact. */
    static String json(String id, String quantity, OffsetDateTime usedAt) {
        return """
            {"source": "shop", "event_id": "%s", "org": "acme", "product": "compute", "metric": "hours",
             "quantity": "%s", "used_at": "%s"}""".formatted(id, quantity, usedAt);
    }

    static Connection connect(String url) throws SQLException {
        URI uri = URI.create(url);
        String[] user = uri.getUserInfo().split(":", 2);
        return DriverManager.getConnection(
            "jdbc:postgresql://" + uri.getAuthority().split("@")[1] + uri.getPath(), user[0], user[1]);
    }

    public static void main(String[] arguments) throws Exception {
        try (Connection db = connect(System.getenv("DATABASE_URL"))) {
            execute(db, "create table if not exists job (id text primary key, org text not null, flaw text)");
            // Postgres keeps microseconds; a retry must bring the same instant
            OffsetDateTime now = OffsetDateTime.now(ZoneOffset.UTC).truncatedTo(ChronoUnit.MICROS);
            Event event = new Event("java-1", new BigDecimal("0.25"), now, "req-1", TRACE, null);
            UUID first = finishJob(db, event);
            Event repeated = new Event("java-1", new BigDecimal("0.250"), now, "req-1", TRACE, null);
            UUID again = transaction(db, () -> record(db, repeated));
            Event other = new Event("java-1", new BigDecimal("9"), now, "req-2", TRACE, null);
            boolean flagged = recordOrFlag(db, "req-2", other) == null;
            List<String> verdicts = recordMany(db, "[" + String.join(", ",
                json("java-2", "1.5", now), json("java-1", "0.25", now), json("java-3", "a lot", now)) + "]");
            refund(db, event, new BigDecimal("0.05"));
            String csv = "shop,java-4,acme,compute,hours,2," + now + "\nshop,java-5,acme,compute,hours,3," + now + "\n";
            copy(db, csv);
            copy(db, csv); // changes nothing
            System.out.printf("{\"same_id_again\": %s, \"flagged\": %s, \"verdicts\": %s}%n",
                first.equals(again), flagged, verdicts);
        }
    }
}
