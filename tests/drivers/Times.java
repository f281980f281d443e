// Sends times of every kind through JDBC; prints what each is answered, as JSON.

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Timestamp;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.StringJoiner;

class Times {
    static final String CALL =
        "select postmeter.record_usage(source => 'driver', event_id => ?, org => 'acme', product => 'db', "
            + "metric => 'cores', quantity => ?, used_at => ?)";

    interface Bind {
        void to(PreparedStatement call) throws SQLException;
    }

    public static void main(String[] args) throws SQLException {
        Map<String, Bind> times = new LinkedHashMap<>();
        times.put("OffsetDateTime", call -> call.setObject(3, OffsetDateTime.parse("2024-09-18T11:30:00+02:00")));
        times.put("Timestamp", call -> call.setTimestamp(3, Timestamp.from(Instant.parse("2024-09-18T09:30:00Z"))));
        times.put("LocalDateTime", call -> call.setObject(3, LocalDateTime.parse("2024-09-18T09:30:00")));
        times.put("LocalDate", call -> call.setObject(3, LocalDate.parse("2024-09-18")));
        times.put("String", call -> call.setString(3, "2024-09-18T09:30:00Z"));
        StringJoiner said = new StringJoiner(", ", "{\"jdbc\": {", "}}");
        try (Connection db = DriverManager.getConnection(System.getenv("JDBC_URL"))) {
            for (Map.Entry<String, Bind> time : times.entrySet()) {
                String answer = "recorded";
                try (PreparedStatement call = db.prepareStatement(CALL)) {
                    call.setString(1, "jdbc " + time.getKey());
                    call.setBigDecimal(2, new BigDecimal("1.5"));
                    time.getValue().to(call);
                    call.execute();
                } catch (SQLException error) {
                    answer = error.getSQLState();
                }
                said.add("\"" + time.getKey() + "\": \"" + answer + "\"");
            }
        }
        System.out.println(said);
    }
}
