"""A shop whose limiter is Flask-Limiter: python shop.py limited prints its port."""
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server

from flask import Flask, jsonify
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

app = Flask(__name__)
limiter = Limiter(get_remote_address, app=app, storage_uri="memory://", headers_enabled=True, retry_after="delta-seconds")
OK = {"responses": {"200": {"description": "ok"}}}


@app.get("/teas")
@limiter.limit("20 per 3 second")
def teas():
    return jsonify([{"id": 1}])


@app.post("/login")
@limiter.limit("5 per 3 second")
def login():
    return "", 401


@app.get("/")
def home():
    return "shop"


@app.get("/openapi.json")
def document():
    paths = {"/teas": {"get": OK}, "/login": {"post": OK}}
    return jsonify({"openapi": "3.0.3", "info": {"title": "Shop", "version": "1"}, "paths": paths})


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
