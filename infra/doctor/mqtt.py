"""The broker: would it lose or hold back messages? Found by trying."""

from collections.abc import Sequence
from typing import Final

from infra.doctor.finding import Finding, Level, readable
from infra.doctor.mqtt_probe import probe
from infra.mqtt.address import Address, MqttEndpoint

PART: Final = "MQTT broker"
FORGETS_SHARED: Final = "mosquitto"
"""Its snapshot holds sessions and their queues, but no shared subscription (measured: 2.0.11)."""
_FORGETS = "a restart forgets shared subscriptions: what comes before a listener is back is dropped, of {}"
_HEED = "Publish again what MQTT 5 acknowledges with reason 0x10, or give these pipelines no group."


async def check(endpoint: MqttEndpoint, shared: Sequence[str] = (), part: str = PART) -> tuple[Finding, ...]:
    """Findings about the broker; takes some seconds. `shared`: pipelines whose subscription has a group."""
    url = endpoint.url.get_secret_value()
    facts = await probe(url, tls=endpoint.tls)
    if not facts.reachable:
        fix = "Start it, or correct its URL in the settings."
        return (Finding(part, Level.UNREACHABLE, " ".join(facts.findings), fix),)
    address = Address.parse(url)
    tls = "TLS" if address.tls else "no TLS"
    seen = f"{facts.version or 'it tells no version'}, {tls}, {facts.in_flight:,} messages in flight"
    fix = "Write its URL with mqtts://."
    findings = [Finding(part, Level.OK, seen), *readable(part, address.host, address.tls, fix)]
    if shared and (facts.version or "").startswith(FORGETS_SHARED):
        findings.append(Finding(part, Level.WARNING, _FORGETS.format(", ".join(shared)), _HEED))
    for sentence in facts.findings:
        what, _, fix = sentence.partition("; ")
        findings.append(Finding(part, Level.PROBLEM, what, fix[:1].upper() + fix[1:]))
    return tuple(findings)
