"""A library with a SQLite database. Its first argument is the one thing that is wrong with it; none: it is sound.
Prints one line of JSON: its port."""

import json
import pathlib
import sqlite3
import sys

from flask import Flask, Response, abort, redirect, render_template_string, request
from markupsafe import escape
from werkzeug.serving import make_server

fault = sys.argv[1] if len(sys.argv) > 1 else ""
shelf = pathlib.Path(__file__).resolve().parent
app = Flask(__name__)

db = sqlite3.connect(":memory:", check_same_thread=False)
db.execute("CREATE TABLE book (id INTEGER PRIMARY KEY, title TEXT, author TEXT, shelf TEXT)")
db.executemany(
    "INSERT INTO book VALUES (?, ?, ?, ?)",
    [
        (1, "Emma", "Austen", "fiction"),
        (2, "Persuasion", "Austen", "fiction"),
        (3, "Walden", "Thoreau", "essay"),
        (4, "Middlemarch", "Eliot", "fiction"),
        (5, "Hamlet", "Shakespeare", "drama"),
    ],
)


def rows(sql, *args):
    return [dict(zip(("id", "title", "author", "shelf"), row)) for row in db.execute(sql, args)]


def page(body):
    return f"<!doctype html><title>Library</title><h1>Library</h1>{body}"


@app.get("/")
def home():
    return page(
        '<a href="/search?q=Emma">search</a> <a href="/books?shelf=fiction">fiction</a> <a href="/books/1">Emma</a>'
        '<a href="/cover?file=emma.txt">cover</a> <a href="/card?name=Ann">card</a> <a href="/go?next=/books">go</a>'
    )


@app.get("/search")
def search():
    q = request.args.get("q", "")
    shown = q if fault == "xss" else escape(q)
    if fault == "attribute":
        return page(f"<input name=q value='{q.replace('<', '&lt;')}'>")
    return page(f"<p>No hits for {shown}</p>")


@app.get("/books")
def books():
    wanted = request.args.get("shelf", "")
    if fault == "sql-text":
        return rows(f"SELECT * FROM book WHERE shelf = '{wanted}'")
    if fault == "sql-blind":
        try:
            return rows(f"SELECT * FROM book WHERE shelf = '{wanted}'")
        except sqlite3.Error:
            return []
    return rows("SELECT * FROM book WHERE shelf = ?", wanted)


@app.get("/books/<book_id>")
def book(book_id):
    if fault == "sql-number":
        try:
            found = rows(f"SELECT * FROM book WHERE id = {book_id}")
        except sqlite3.Error:
            found = []
    else:
        found = rows("SELECT * FROM book WHERE id = ?", int(book_id)) if book_id.isdigit() else []
    return found[0] if found else (Response(json.dumps({"error": "no such book"}), 404, mimetype="application/json"))


@app.get("/cover")
def cover():
    name = request.args.get("file", "")
    if fault == "traversal":
        path = shelf / "covers" / name
        return Response(path.read_text() if path.is_file() else "no cover", mimetype="text/plain")
    known = {"emma.txt": "a lady in a green dress"}
    return Response(known.get(name) or abort(404), mimetype="text/plain")


@app.get("/card")
def card():
    name = request.args.get("name", "")
    if fault == "template":
        return render_template_string(page("Card of " + str(escape(name))))
    return render_template_string(page("Card of {{ name }}"), name=name)


@app.get("/go")
def go():
    to = request.args.get("next", "/")
    if fault != "redirect" and (not to.startswith("/") or to.startswith("//")):
        to = "/"
    return redirect(to)


@app.errorhandler(500)
def broken(error):
    cause = getattr(error, "original_exception", None)
    return f"{type(cause).__module__}.{type(cause).__name__}: {cause}", 500


server = make_server("127.0.0.1", 0, app, threaded=True)
print(json.dumps({"port": server.server_port}), flush=True)
server.serve_forever()
