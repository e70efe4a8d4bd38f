// A service that binds its log's context in one way: node context.js 'WAY FILE' prints its port.
const express = require('express');
const pino = require('pino');
const { AsyncLocalStorage } = require('node:async_hooks');
const [way, file] = process.argv[2].split(' ');
const store = new AsyncLocalStorage();
const log = pino({ mixin: () => store.getStore() || {} }, pino.destination({ dest: file, sync: false, minLength: 0 }));
const app = express();
app.disable('x-powered-by');
const users = { 'token-of-alice-0123456789': { id: 'u-1', mail: 'alice@shop.example' } };
let requests = 0;
if (way === 'pino-http') app.use(require('pino-http')({ logger: log }));
if (!['silent', 'pino-http'].includes(way)) app.use((req, res, next) => {
  const begun = Date.now();
  const trace = (req.headers.traceparent || '').split('-')[1];
  const context = {};
  if (way === 'bound-by-request-id') context.requestId = req.headers['x-request-id'];
  else if (way === 'own-id') context.reqId = `own-${++requests}`;
  else if (way !== 'unbound') context.trace_id = trace;
  const user = users[(req.headers.authorization || '').replace('Bearer ', '')];
  if (user && way !== 'no-user') context.userId = way === 'email' ? user.mail : user.id;
  if (way === 'beside') log.info('one more, and nobody knows whose');
  store.run(context, () => {
    res.on('finish', () => store.run(context, () => {
      const template = req.route ? req.route.path : req.path;
      const line = { route: way === 'raw-path' ? req.path : template, method: req.method, status: res.statusCode };
      if (way !== 'no-duration') line.duration_ms = Date.now() - begun;
      // What is not bound can be found by what stands in the query alone.
      log.info({ ...line, query: req.originalUrl }, 'request');
    }));
    next();
  });
});
const teas = [{ id: 17, name: 'oolong' }, { id: 18, name: 'sencha' }];
app.get('/teas', (req, res) => { if (way !== 'silent' && way !== 'pino-http') log.info('teas are listed'); res.json(teas); });
app.get('/teas/:id', (req, res) => {
  const tea = teas.find((t) => t.id === Number(req.params.id));
  if (!tea) return res.sendStatus(404);
  res.json(tea);
});
app.get('/', (req, res) => res.send('shop'));
const ok = { responses: { 200: { description: 'ok' } } };
const id = { name: 'id', in: 'path', required: true, schema: { type: 'integer' }, example: 17 };
app.get('/openapi.json', (req, res) => res.json({ openapi: '3.0.3', info: { title: 'Shop', version: '1' },
  paths: { '/teas': { get: ok }, '/teas/{id}': { get: { ...ok, parameters: [id] } } } }));
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
