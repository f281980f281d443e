"""Records, lists, explains and decides with the client that openapi-python-client makes of the OpenAPI document."""

import datetime
import os

from postmeter_client import AuthenticatedClient
from postmeter_client.api.decisions import retry
from postmeter_client.api.lists import export_remittances, list_remittances, list_usage
from postmeter_client.api.requests import track
from postmeter_client.api.usage import explain_usage, record_event, record_usage, record_usages, usage_standing
from postmeter_client.models import (
    Correction,
    CorrectionFilter,
    Corrected,
    Explanation,
    NewRequestStatus,
    NewUsage,
    NewUsageAttributes,
    Problem,
    RecordedUsagePage,
    RemittancePage,
    StatusVerdict,
    Usage,
    UsageEvent,
    UsageEventData,
    UsageVerdict,
    UsageVerdicts,
)

client = AuthenticatedClient(base_url=os.environ["POSTMETER_URL"], token=os.environ["POSTMETER_TOKEN"])
used_at = datetime.datetime.fromisoformat(os.environ["POSTMETER_USED_AT"])


def usage(event_id: str, quantity: str) -> NewUsage:
    region = NewUsageAttributes.from_dict({"region": "eu-west-1"})
    return NewUsage(source="python", event_id=event_id, org="acme", product="db", metric="cores", quantity=quantity,
                    used_at=used_at, attributes=region)


recorded = record_usage.sync(client=client, body=usage("1", "12.5"))
assert isinstance(recorded, UsageVerdict) and recorded.verdict == "recorded", recorded
foretold = record_usage.sync(client=client, body=usage("9", "1"), dry_run=True)
assert isinstance(foretold, UsageVerdict) and foretold.dry_run is True, foretold
many = record_usages.sync(client=client, body=[usage("2", "1"), usage("3", "oops")])
assert isinstance(many, UsageVerdicts) and (many.recorded, many.refused) == (1, 1), many
event = UsageEvent(specversion="1.0", type_="postmeter.usage.v1", source="python", id="4", time=used_at,
                   data=UsageEventData(org="acme", product="db", metric="cores", quantity="1"))
came = record_event.sync(client=client, body=event)
assert isinstance(came, UsageVerdict) and came.verdict == "recorded", came
refused = record_usage.sync(client=client, body=usage("1", "13"))
assert isinstance(refused, Problem) and refused.code == "PM002", refused
listed = list_usage.sync(client=client, source=["python"])
assert isinstance(listed, RecordedUsagePage) and len(listed.items) == 3, listed
standing = usage_standing.sync("python", "1", client=client)
assert isinstance(standing, Usage) and not standing.done, standing
told = explain_usage.sync("python", "1", client=client)
assert isinstance(told, Explanation) and told.in_short, told
remittances = list_remittances.sync(client=client, org=["acme"], limit=10)
assert isinstance(remittances, RemittancePage), remittances
assert export_remittances.sync_detailed(client=client).status_code == 200
said = track.sync(client=client, body=NewRequestStatus(service="python", request_id="r-1", status="success"))
assert isinstance(said, StatusVerdict), said
decided = retry.sync(client=client, body=Correction(filter_=CorrectionFilter(org="acme"), reason="a test"))
assert isinstance(decided, (Corrected, Problem)), decided
print("done")
