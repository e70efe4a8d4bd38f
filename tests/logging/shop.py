"""A service that logs through Python's own logging: python shop.py 'json FILE' or 'text FILE' prints its port."""
import json
import logging
import sys
import time
from wsgiref.simple_server import WSGIRequestHandler, make_server

from flask import Flask, request

way, path = sys.argv[1].split(" ")
handler = logging.FileHandler(path)
if way == "json":
    class Formatter(logging.Formatter):
        def format(self, record):
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
            return json.dumps({"time": now, "level": record.levelname, "message": record.getMessage()})
    handler.setFormatter(Formatter())
else:
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
log = logging.getLogger("shop")
log.setLevel(logging.INFO)
log.addHandler(handler)
app = Flask(__name__)


@app.after_request
def tell(response):
    log.info("%s %s %s", request.method, request.path, response.status_code)
    return response


@app.get("/")
def home():
    return "shop"


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
