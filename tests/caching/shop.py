"""A shop whose answers say how they may be cached, right or with one fault: shop.py FAULT prints its port."""
import sys

from flask import Flask, abort, jsonify, make_response, request
from werkzeug.serving import make_server

fault = sys.argv[1]
app = Flask(__name__)
USERS = {"Bearer token-of-alice-0123456789": "Alice", "Bearer token-of-bob-01234567890": "Bob"}
PATHS = {path: {"get": {"responses": {"200": {"description": "ok"}}}} for path in ("/api/teas", "/me")}


def said(body, cache, kind="application/json"):
    answer = make_response(body)
    answer.headers["Content-Type"] = kind
    if cache:
        answer.headers["Cache-Control"] = cache
    answer.add_etag()
    return answer.make_conditional(request)


@app.get("/openapi.json")
def document():
    return jsonify(openapi="3.0.3", info={"title": "Shop", "version": "1"}, paths=PATHS)


@app.get("/")
def front():
    page = '<!doctype html><title>Shop</title><script src="/app-3f2a9c1b.js"></script><link rel=stylesheet href="/own.css">'
    answer = said(page, "public, max-age=60" if fault == "cookie" else "no-cache", "text/html")
    if fault == "cookie":
        answer.set_cookie("session", "0123456789abcdef")
    return answer


@app.get("/app-3f2a9c1b.js")
def script():
    return said("let tea = 1;", None if fault == "assets" else "public, max-age=31536000, immutable", "text/javascript")


@app.get("/own.css")
def style():
    return said("p { margin: 0 }", "max-age=3600", "text/css")


@app.get("/api/teas")
def teas():
    return said('[{"name": "Assam"}]', "public, max-age=60")


@app.get("/me")
def me():
    user = USERS.get(request.headers.get("Authorization", ""))
    if not user:
        abort(401)
    return said('{"name": "%s"}' % user, "public, max-age=60" if fault == "public" else "private, no-store")


server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
