// A tea shop behind JSON Web Tokens. Its first argument is the one thing that is wrong with it; none: it is sound.
// Prints one line of JSON: its port, and a token for each account.
const express = require("express");
const crypto = require("crypto");
const jwt = require("jsonwebtoken");

const fault = process.argv[2] || "";
const secret = fault === "weak-secret" ? "secret123" : "k3-9fQx2mW8vT5zLr7pYc4Hn6Jd1Bs0Ga";
const pair = crypto.generateKeyPairSync("rsa", { modulusLength: 2048 });
const publicPem = pair.publicKey.export({ type: "spki", format: "pem" });
const asymmetric = fault === "key-confusion";

const users = [
  { id: 17, name: "Ann", role: "user", email: "ann@shop.example" },
  { id: 18, name: "Bob", role: "user", email: "bob@shop.example" },
  { id: 1, name: "Root", role: "admin", email: "root@shop.example" },
];
const orders = [
  { id: 901, owner: 17, tea: "oolong", address: "1 Elm Street" },
  { id: 902, owner: 18, tea: "sencha", address: "2 Oak Street" },
  { id: 903, owner: 17, tea: "assam", address: "1 Elm Street" },
];
const sign = (user) => {
  const claims = { sub: String(user.id), role: user.role, name: user.name };
  return asymmetric ? jwt.sign(claims, pair.privateKey, { algorithm: "RS256" }) : jwt.sign(claims, secret, { expiresIn: "1h" });
};

// What the libraries of 2015 did, and what people still write by hand.
const parts = (token) => token.split(".").map((part) => Buffer.from(part, "base64url"));
function verified(token) {
  if (fault === "unverified") return jwt.decode(token);
  if (fault === "alg-none" || fault === "key-confusion") {
    const [header, claims, signature] = parts(token);
    const alg = JSON.parse(header).alg;
    if (fault === "alg-none" && alg.toLowerCase() === "none") return JSON.parse(claims);
    if (fault === "key-confusion" && alg === "HS256") {
      const signed = token.slice(0, token.lastIndexOf("."));
      const tag = crypto.createHmac("sha256", publicPem).update(signed).digest();
      if (tag.equals(signature)) return JSON.parse(claims);
    }
  }
  return asymmetric ? jwt.verify(token, publicPem, { algorithms: ["RS256"] }) : jwt.verify(token, secret, { algorithms: ["HS256"] });
}

function auth(req, res, next) {
  const header = req.get("authorization") || "";
  let token = header.startsWith("Bearer ") ? header.slice(7) : "";
  if (!token && fault === "query-token") token = req.query.access_token || "";
  try {
    const claims = verified(token);
    req.user = users.find((user) => String(user.id) === claims.sub);
    if (req.user) return next();
  } catch {
    // falls through
  }
  res.set("WWW-Authenticate", 'Bearer realm="shop"').status(401).json({ error: "who are you?" });
}
const only = (role) => (req, res, next) =>
  fault === "role" || req.user.role === role ? next() : res.status(403).json({ error: "not yours to see" });

const app = express();
app.disable("x-powered-by");
app.use(express.json());
app.use((error, req, res, next) => res.status(400).json({ error: "not JSON" }));

app.get("/", (req, res) => res.type("html").send('<h1>Tea shop</h1><a href="/about">about</a>'));
app.get("/health", (req, res) => res.json({ status: "pass" }));
app.get("/.well-known/jwks.json", (req, res) => res.json({ keys: [pair.publicKey.export({ format: "jwk" })] }));
app.post("/login", (req, res) => {
  const user = users.find((one) => one.name === req.body.username && req.body.password === `${one.name}-pass`);
  return user ? res.json({ token: sign(user) }) : res.status(401).set("WWW-Authenticate", "Bearer").json({ error: "no" });
});

const me = (req, res) => {
  const user = req.user || users[0];
  res.json({ id: user.id, name: user.name, email: user.email });
};
if (fault === "above-the-wall") app.get("/me", me);
let copy = null;
if (fault === "cached")
  app.get("/me", (req, res, next) => {
    if (copy) return res.set("Age", "7").json(copy);
    auth(req, res, () => res.json((copy = { id: req.user.id, name: req.user.name, email: req.user.email })));
  });

const guard =
  fault === "letter-case" ? (req, res, next) => (req.path.startsWith("/orders") ? auth(req, res, next) : next()) : auth;
const shop = express.Router();
shop.get("/", (req, res) => res.json(orders.filter((order) => !req.user || order.owner === req.user.id)));
shop.get("/:id", (req, res) => {
  const own = (order) => fault === "foreign-objects" || !req.user || order.owner === req.user.id;
  const order = orders.find((one) => String(one.id) === req.params.id && own(one));
  return order ? res.json(order) : res.status(404).json({ error: "no such order" });
});
shop.post("/", fault === "open-post" ? (req, res, next) => next() : auth, (req, res) =>
  req.body.tea ? res.status(201).json({ id: 904 }) : res.status(fault === "open-post" ? 200 : 422).json({ error: "which tea?" }),
);
if (fault === "letter-case") {
  app.use(guard);
  app.use("/orders", shop);
} else if (fault === "open-post") {
  app.use("/orders", (req, res, next) => (req.method === "POST" ? next() : auth(req, res, next)), shop);
} else {
  app.use("/orders", auth, shop);
}

const admin = express.Router();
admin.get("/users", (req, res) => res.json(users));
app.use("/admin", fault === "forgotten-router" ? (req, res, next) => next() : [auth, only("admin")], admin);

app.get("/me", auth, me);
app.use((req, res) => res.status(404).json({ error: "no such page" }));

const server = app.listen(0, "127.0.0.1", () => {
  const [ann, bob, root] = users.map(sign);
  console.log(JSON.stringify({ port: server.address().port, ann, bob, root }));
});
