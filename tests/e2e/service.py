"""A small service with real Prometheus metrics (prometheus_client): GET / answers 200, or 500 while it is broken.

GET /break and /mend switch it; GET /metrics is its exposition. Prints its port. Not ours to judge: the test's target.
"""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

REQUESTS = Counter("http_requests", "Requests by status", ["method", "route", "code"])
SECONDS = Histogram("http_request_duration_seconds", "Time to answer", ["route"])
BROKEN = Gauge("shop_broken", "1 while every page fails")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/metrics":
            return self.answer(200, CONTENT_TYPE_LATEST, generate_latest())
        if self.path in ("/break", "/mend"):
            BROKEN.set(1 if self.path == "/break" else 0)
            return self.answer(200, "text/plain", b"ok")
        with SECONDS.labels("/").time():
            code = 500 if BROKEN._value.get() else 200
            REQUESTS.labels("GET", "/", str(code)).inc()
            self.answer(code, "text/plain", b"hello")

    def answer(self, code, kind, body):
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    sys.exit(0)
