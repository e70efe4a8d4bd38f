// People sign in to a shop whose sessions live in Redis, with one fault at a time: node shop.js 'FAULT REDIS-URL'
// prints its port.
// Sessions are kept by express-session and connect-redis.
const express = require('express');
const session = require('express-session');
const { RedisStore } = require('connect-redis');
const { createClient } = require('redis');
const [fault, redis] = process.argv[2].split(' ');
const client = createClient({ url: redis });
client.on('error', () => {});
const app = express();
app.disable('x-powered-by');
app.use(express.json());
app.use(session({ secret: 'a-secret-of-the-tests-alone', resave: false, saveUninitialized: false, name: 'sid',
  store: new RedisStore({ client, prefix: 'shop:' }), cookie: { httpOnly: true, sameSite: 'lax' } }));
let current = null, logins = 0;
app.post('/login', (req, res) => {
  const { username, password } = req.body;
  const known = /^hc-user-(\d+)$/.exec(username);
  if (!known || password !== 'correct-horse-battery') return res.sendStatus(401);
  if (fault === 'refuse-some' && ++logins % 10 === 0) return res.sendStatus(503);
  if (fault === 'limited' && ++logins > 20) return res.sendStatus(429);
  const slow = fault === 'slow' ? 3000 : 0;
  setTimeout(() => { req.session.user = username; current = username; res.json({ ok: true }); }, slow);
});
app.get('/me', async (req, res) => {
  if (!req.session.user) return res.sendStatus(401);
  if (fault === 'current-user') {
    // The module's own variable is set by whoever came last before the wait is over.
    current = req.session.user;
    await new Promise((done) => setTimeout(done, 20));
    return res.json({ user: current });
  }
  if (fault === 'nameless') return res.json({ balance: 3 });
  res.json({ user: req.session.user });
});
app.post('/logout', (req, res) => {
  if (fault === 'logout') return res.clearCookie('sid').json({ ok: true });
  req.session.destroy(() => res.clearCookie('sid').json({ ok: true }));
});
app.get('/openapi.json', (req, res) => {
  const ok = { responses: { 200: { description: 'ok' } } };
  res.json({ openapi: '3.0.3', info: { title: 'Shop', version: '1' },
    paths: { '/login': { post: ok }, '/me': { get: ok }, '/logout': { post: ok } } });
});
app.get('/', (req, res) => res.send('shop'));
client.connect().then(() => {
  const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
});
