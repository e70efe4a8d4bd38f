"""A shop of teas in Flask, with one defect at a time: `teas.py DEFECT`. Prints its port."""

import sys
import traceback

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import make_server

defect = sys.argv[1]
app = Flask(__name__)
TEAS = {1: "sencha", 2: "assam"}
WHOLE = {"type": "integer", "minimum": 1, "maximum": 1000}
NEW = {"type": "object", "required": ["name", "grams"],
       "properties": {"name": {"type": "string", "maxLength": 40}, "grams": {"type": "integer"}}}


def json_body(schema):
    return {"required": True, "content": {"application/json": {"schema": schema}}}


@app.get("/openapi.json")
def document():
    page = {"name": "page", "in": "query", "schema": WHOLE, "example": 1}
    tea = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 1}, "example": 1}
    paths = {
        "/": {"get": {}},
        "/teas": {"get": {"parameters": [page]}, "post": {"requestBody": json_body(NEW)}},
        "/teas/{id}": {"get": {"parameters": [tea]}},
    }
    return jsonify(openapi="3.0.3", info={"title": "teas", "version": "1"}, paths=paths)


@app.get("/")
def front():
    return jsonify(teas="/teas")


@app.errorhandler(HTTPException)
def refused(error):
    answer = jsonify(error=error.name)
    answer.status_code = error.code
    if error.code == 405 and defect != "no-allow":
        answer.headers["Allow"] = ", ".join(sorted(error.valid_methods or []))
    return answer


def whole(text, least, most):
    if not text.isascii() or not text.isdigit() or not least <= int(text[:12]) <= most:
        raise ValueError(text)
    return int(text)


@app.get("/teas")
def teas():
    text = request.args.get("page", "1")
    if defect == "int-parse":
        int(text)
        return jsonify(list(TEAS.values()))
    if defect == "accepts":
        return jsonify(list(TEAS.values()))
    if defect == "unicode":
        text.encode("latin-1")
    try:
        whole(text, 1, 1000)
    except ValueError:
        if defect == "shapes":
            return Response("<p>no such page</p>", 400, mimetype="text/html")
        return jsonify(error="page must be a number from 1 to 1000"), 400
    return jsonify(list(TEAS.values()))


@app.get("/teas/<id>")
def tea(id):
    try:
        return jsonify(TEAS[whole(id, 1, 2**31)])
    except (KeyError, ValueError):
        if defect == "trace":
            return jsonify(error=traceback.format_exc()), 404
        return jsonify(error="no such tea"), 404


@app.post("/teas")
def add():
    if defect == "truncated":
        import json
        json.loads(request.get_data())
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        return jsonify(error="an object is needed"), 400
    if defect == "missing-key":
        body["name"], body["grams"]
    name, grams = body.get("name"), body.get("grams")
    if not isinstance(name, str) or len(name) > 40 or type(grams) is not int:
        return jsonify(error="name and grams are needed"), 422
    # Nothing that is valid may come from a check.
    print("KEPT", flush=True)
    return jsonify(id=3), 201


server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
