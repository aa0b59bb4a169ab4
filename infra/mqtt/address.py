"""Where a broker is and who we are to it: `mqtt://user:password@host:1883`, or `mqtts://` for TLS."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from lineage.errors import SettingsError

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True, slots=True)
class Tls:
    """PEM files for TLS: whom to trust (unset: the system's authorities), and who we are if it asks."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


SYSTEM = Tls()


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttEndpoint:
    """`url` may hold user and password."""

    url: SecretStr
    tls: Tls


@dataclass(frozen=True, slots=True)
class Address:
    """A broker's address; as text it never shows the password."""

    host: str
    port: int
    tls: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read a URL; raises SettingsError, which does not repeat the URL (it may hold a password)."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise SettingsError("the MQTT URL cannot be read; write mqtt://host:1883.") from error
        if parts.scheme not in _PORTS or not parts.hostname:
            raise SettingsError("the MQTT URL must look like mqtt://host:1883 or mqtts://host:8883.")
        return cls(
            host=parts.hostname,
            port=port or _PORTS[parts.scheme],
            tls=parts.scheme == "mqtts",
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
        )

    def __str__(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"

    def context(self, files: Tls = SYSTEM) -> ssl.SSLContext | None:
        """What TLS needs, None without TLS; raises SettingsError when a file cannot be read."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=files.ca)
            if files.certificate is not None:
                context.load_cert_chain(files.certificate, files.key)
        except OSError as error:  # ssl.SSLError is one
            named = ", ".join(str(file) for file in (files.ca, files.certificate, files.key) if file)
            raise SettingsError(f"the TLS files of the broker cannot be read ({named}): {error}.") from error
        return context
