"""A real SMTP server (aiosmtpd) that writes every accepted mail as one JSON line to stdout.

First line: the port. Recipients whose name begins with
  refuse  are refused for good (550),
  later   are put off the first time and taken afterwards (450),
  busy    are always put off (451).
"""

import argparse
import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    def __init__(self):
        self.seen = set()

    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.split("@")[0]
        if name.startswith("refuse"):
            return "550 5.1.1 no such mailbox"
        if name.startswith("busy"):
            return "451 4.3.2 come back later"
        if name.startswith("later") and address not in self.seen:
            self.seen.add(address)
            return "450 4.2.0 greylisted"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, server, session, envelope):
        mail = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": server.transport.get_extra_info("ssl_object") is not None,
            "login": getattr(session, "login", None),
            "data": envelope.content.decode("utf-8", "replace"),
        }
        print(json.dumps(mail), flush=True)
        return "250 2.0.0 queued as T1"


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--tls", choices=["none", "starttls", "implicit"], default="none")
    args.add_argument("--cert")
    args.add_argument("--key")
    args.add_argument("--login", help="USER:PASSWORD")
    args.add_argument("--size", type=int, default=33554432)
    args.add_argument("--port", type=int, default=0)
    args = args.parse_args()

    context = None
    if args.tls != "none":
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(args.cert, args.key)

    def authenticate(server, session, envelope, mechanism, data):
        given = f"{data.login.decode()}:{data.password.decode()}"
        if given != args.login:
            return AuthResult(success=False, handled=False)
        session.login = data.login.decode()
        return AuthResult(success=True)

    handler = Handler()

    def factory():
        return SMTP(
            handler,
            hostname="mail.test",
            data_size_limit=args.size,
            enable_SMTPUTF8=True,
            tls_context=context if args.tls == "starttls" else None,
            authenticator=authenticate if args.login else None,
            auth_required=bool(args.login),
            auth_require_tls=False,
        )

    async def serve():
        loop = asyncio.get_running_loop()
        implicit = context if args.tls == "implicit" else None
        server = await loop.create_server(factory, "127.0.0.1", args.port, ssl=implicit)
        print(server.sockets[0].getsockname()[1], flush=True)
        # Ends with whoever started us.
        await loop.run_in_executor(None, sys.stdin.read)
        server.close()

    asyncio.run(serve())


main()
