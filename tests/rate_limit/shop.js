// A shop whose limiter is express-rate-limit, in one way: node shop.js WAY prints its port.
const express = require('express');
const { rateLimit } = require('express-rate-limit');
const way = process.argv[2];
const app = express();
app.disable('x-powered-by');
app.use(express.json());
// Whoever believes every proxy believes everybody.
if (way === 'forgeable') app.set('trust proxy', true);
const drafts = { 'draft-6': 'draft-6', 'draft-7': 'draft-7' };
const headers = {
  legacy: { standardHeaders: false, legacyHeaders: true },
  silent: { standardHeaders: false, legacyHeaders: false },
}[way] || { standardHeaders: drafts[way] || 'draft-8', legacyHeaders: false };
const limiter = (limit) => rateLimit({ windowMs: 3000, limit, validate: false, ...headers });
const open = (req, res, next) => next();
// Two instances behind one balancer, each with a memory of its own.
const twins = [limiter(200), limiter(200)];
let asked = 0;
const between = (req, res, next) => twins[Math.floor(asked++ / 4) % 2](req, res, next);
const mortal = (req, res, next) => (++asked > 10 ? process.exit(1) : next());
const teas = { none: open, twins: between, large: limiter(5000), dies: mortal }[way] || limiter(20);
const login = ['none', 'login-open'].includes(way) ? open : limiter(5);
// This machine is let off, others are not.
const local = (limited) => (req, res, next) => (req.headers['x-forwarded-for'] ? limited(req, res, next) : next());
app.get('/teas', way === 'exempt' ? local(limiter(20)) : teas, (req, res) => res.json([{ id: 1 }]));
app.post('/login', way === 'exempt' ? local(limiter(5)) : login, (req, res) => res.sendStatus(401));
app.get('/', (req, res) => res.send('shop'));
const ok = { responses: { 200: { description: 'ok' } } };
app.get('/openapi.json', (req, res) => res.json({ openapi: '3.0.3', info: { title: 'Shop', version: '1' },
  paths: { '/teas': { get: ok }, '/login': { post: ok } } }));
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
