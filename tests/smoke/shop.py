"""A small shop on Flask with one fault at a time: `python shop.py none|asset|spa|hang`. Prints its port."""

import sys
import threading
import time

from flask import Flask, jsonify, make_response, request
from werkzeug.serving import make_server

fault = sys.argv[1]
app = Flask(__name__, static_folder=None)
asset = "/assets/app-new.js" if fault == "asset" else "/assets/app-old.js"
page = f'<!doctype html><html><title>Tea shop</title><script src="{asset}"></script></html>'
orders = set()


@app.before_request
def shell():
    if fault == "spa" and not request.path.startswith("/assets/"):
        return page


@app.get("/")
def home():
    return page


@app.get("/assets/app-old.js")
def script():
    return "1", {"content-type": "text/javascript"}


@app.get("/health")
def health():
    return jsonify(status="pass")


@app.post("/login")
def login():
    answer = make_response("welcome")
    answer.set_cookie("user", request.form["user"], httponly=True)
    return answer


@app.get("/basket")
def basket():
    if fault == "hang":
        time.sleep(30)
    user = request.cookies.get("user")
    return (f"basket of {user}", 200) if user else ("who are you?", 401)


@app.post("/api/orders")
def order():
    orders.add(len(orders) + 1)
    return jsonify(id=len(orders)), 201


@app.delete("/api/orders/<int:number>")
def cancel(number):
    orders.remove(number)
    return "", 204


server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.server_port, flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
threading.Event().wait()
