"""E-mail: plain text and HTML of the same message, a report's picture shown where the HTML names it."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import TYPE_CHECKING, Any, Final

from ingest.alerts.addresses import PRIVATE_ADDRESS
from ingest.alerts.notification import IMAGE_NAME, MailFile, Outcome, target_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.alerts.connection_guard import Connections
    from ingest.alerts.messages import Message

# Mail programs put what asks for attention on top (X-Priority is de facto, Importance is RFC 4021).
_IMPORTANCE: Final = {"critical": ("1", "high"), "warning": ("3", "normal"), "info": ("3", "normal")}


def send_mail(
    service: Any,
    message: Message,
    picture: bytes | None,
    *,
    timeout_s: float,
    connections: Connections,
    taken: set[str],
    files: Sequence[MailFile] = (),
) -> Outcome:
    """Send one e-mail to all recipients of an address, over one connection.

    Args:
        service: The address `mailto://…` as apprise read it: server, login, sender and recipients.
        message: What to send.
        picture: PNG that the HTML names by `cid:`; None where there is none.
        timeout_s: Longest wait for the server at each step is half of it, in seconds.
        connections: The connections of this attempt.
        taken: Keys of the recipients that have it already, who are left out; those who take it now are added.
        files: What is attached.
    """
    everybody = [address for _, address in service.targets] + sorted(service.cc | service.bcc)
    recipients = [address for address in everybody if target_key(address) not in taken]
    try:
        with _connect(service, timeout_s) as server:
            mail = write_mail(service, message, picture, files)
            refused = server.send_message(mail, service.from_addr[1], recipients)
    except smtplib.SMTPAuthenticationError as error:
        return Outcome(f"the mail server refused the login ({error.smtp_code})", is_refused=True)
    except smtplib.SMTPRecipientsRefused as error:
        codes = sorted({code for code, _ in error.recipients.values()})
        return Outcome(f"the mail server did not accept it: it refused every recipient ({codes[0]})")
    except smtplib.SMTPResponseException as error:
        return Outcome(f"the mail server did not accept it ({error.smtp_code})")
    except (OSError, smtplib.SMTPException) as error:
        if connections.is_forbidden:
            return Outcome(PRIVATE_ADDRESS, is_final=True)
        return Outcome(f"no connection to the mail server ({type(error).__name__})")
    taken |= {target_key(address) for address in recipients if address not in refused}
    if refused:
        return Outcome(f"the mail server refused {len(refused)} of {len(recipients)} recipients")
    return Outcome()


def write_mail(
    service: Any, message: Message, picture: bytes | None = None, files: Sequence[MailFile] = ()
) -> EmailMessage:
    """Write the e-mail: `multipart/alternative` of text and HTML, the picture beside the HTML (`multipart/related`).

    With files it is `multipart/mixed`, of that and of them.
    """
    mail = EmailMessage()
    name, sender = service.from_addr
    mail["Subject"] = " ".join(message.title.split())
    mail["From"] = Address(name or "Treering", addr_spec=sender)
    mail["To"] = [Address(name or "", addr_spec=address) for name, address in service.targets]
    if service.cc:
        mail["Cc"] = [Address(addr_spec=address) for address in sorted(service.cc)]
    if service.reply_to:
        mail["Reply-To"] = [Address(addr_spec=address) for address in sorted(service.reply_to)]
    mail["Date"] = formatdate()
    domain = sender.rpartition("@")[2] or None
    mail["Message-ID"] = make_msgid(domain=domain)
    if message.key:  # mail programs show what an alert said from its beginning to its end together
        mail["References"] = f"<{message.key}@{domain or 'treering'}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail["X-Priority"], mail["Importance"] = _IMPORTANCE[message.severity]
    mail.set_content(message.text)
    page = f'<!DOCTYPE html><html><head><meta charset="utf-8"></head><body>{message.html}</body></html>'
    mail.add_alternative(page, subtype="html")
    if picture is not None:
        part = mail.get_payload()[1]  # type: ignore[index]
        part.add_related(  # type: ignore[union-attr]
            picture, "image", "png", cid=f"<{IMAGE_NAME}>", filename=IMAGE_NAME, disposition="inline"
        )
    for file in files:
        kind, _, subkind = file.mime.partition("/")
        mail.add_attachment(file.content, maintype=kind, subtype=subkind, filename=file.name)
    return mail


@contextlib.contextmanager
def _connect(service: Any, timeout_s: float) -> Iterator[smtplib.SMTP]:
    context = ssl.create_default_context()
    if not service.verify_certificate:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    mode = service.secure_mode
    server: smtplib.SMTP
    if mode == "ssl":
        server = smtplib.SMTP_SSL(service.smtp_host, service.port or 0, timeout=timeout_s / 2, context=context)
    else:
        server = smtplib.SMTP(service.smtp_host, service.port or 0, timeout=timeout_s / 2)
    with server:
        if mode == "starttls":
            server.starttls(context=context)
        if service.user and service.password:
            server.login(service.user, service.password)
        yield server
