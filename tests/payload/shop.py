"""A Flask shop behind a bearer token, with one fault at a time: shop.py FAULT prints its port."""
import sys

from flask import Flask, abort, jsonify, request
from werkzeug.security import generate_password_hash
from werkzeug.serving import make_server

fault = sys.argv[1]
app = Flask(__name__)
user = {"type": "object", "properties": {"id": {"type": "integer"}, "name": {"type": "string"}, "email": {"type": "string"}}}
answer = {"responses": {"200": {"description": "ok", "content": {"application/json": {"schema": user}}}}}


@app.get("/openapi.json")
def document():
    return jsonify(openapi="3.0.3", info={"title": "Shop", "version": "1"}, paths={"/me": {"get": answer}})


@app.get("/me")
def me():
    if request.headers.get("Authorization") != "Bearer token-of-alice-0123456789":
        abort(401)
    own = {"id": 7, "name": "Alice", "email": "alice@example.com"}
    if fault == "hash":
        own["pw"] = generate_password_hash("battery staple")
    return jsonify(own)


@app.get("/")
def front():
    return "<!doctype html><title>Shop</title><h1>Teas</h1>"


server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
