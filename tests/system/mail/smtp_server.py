"""The mail server of the tests: an SMTP server that stores mails as files and can be made to fail.

The file `mode` in its folder says what to do with the next mail: `take`, `refuse` (550), `defer` (451), `refuse-us` (550 to
EHLO), `refuse-sender` (550 to MAIL FROM), `quota` (550 5.4.5), or `hold`: store it and do not answer until the mode changes.
An accepted mail is stored as `<number>.eml` before the answer is sent.
"""

import asyncio
import pathlib
import sys

from aiosmtpd.smtp import SMTP

folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])


def mode():
    try:
        return (folder / "mode").read_text().strip()
    except FileNotFoundError:
        return "take"


class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        return ["550 5.7.1 access denied for this host"] if mode() == "refuse-us" else responses

    async def handle_MAIL(self, server, session, envelope, address, options):
        if mode() == "refuse-sender":
            return "550 5.7.1 sender not verified"
        if mode() == "quota":
            return "550 5.4.5 daily quota exceeded"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 fine"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if mode() == "refuse":
            return "550 5.1.1 nobody of that name here"
        if mode() == "defer":
            return "451 4.3.2 not now"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 fine"

    async def handle_DATA(self, server, session, envelope):
        number = sum(1 for _ in folder.glob("*.eml"))
        part = folder / f"{number:05}.part"
        part.write_bytes(envelope.content)
        part.rename(folder / f"{number:05}.eml")
        while mode() == "hold":
            await asyncio.sleep(0.02)
        return "250 2.0.0 taken"


async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Handler(), enable_SMTPUTF8=True), "127.0.0.1", port)
    print("ready", flush=True)
    await server.serve_forever()


asyncio.run(main())
