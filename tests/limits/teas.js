// The same shop in Express, with one defect at a time: `teas.js DEFECT`. Prints its port.
const express = require('express');
const defect = process.argv[2];
const app = express();
const whole = { type: 'integer', minimum: 1, maximum: 1000 };
const fresh = {
  type: 'object',
  required: ['name', 'grams'],
  properties: { name: { type: 'string', maxLength: 40 }, grams: { type: 'integer' } },
};

app.get('/openapi.json', (req, res) => res.json({
  openapi: '3.0.3',
  info: { title: 'teas', version: '1' },
  paths: {
    '/': { get: {} },
    '/teas': {
      get: { parameters: [{ name: 'page', in: 'query', schema: whole, example: 1 }] },
      post: { requestBody: { required: true, content: { 'application/json': { schema: fresh } } } },
    },
  },
}));
app.use(express.json());
app.get('/', (req, res) => res.json({ teas: '/teas' }));
app.get('/teas', (req, res) => {
  const page = req.query.page ?? '1';
  // A list has no trim: the usual TypeError.
  if (defect === 'type') page.trim();
  if (!/^\d{1,4}$/.test(page) || page < 1 || page > 1000) return res.status(400).json({ error: 'page' });
  return res.json(['sencha']);
});
app.post('/teas', (req, res) => {
  const body = req.body ?? {};
  if (defect === 'missing-key') body.name.trim();
  if (defect === 'reset' && body.grams === 'hc') return req.socket.destroy();
  if (typeof body.name !== 'string' || body.name.length > 40 || !Number.isInteger(body.grams)) {
    return res.status(422).json({ error: 'name and grams' });
  }
  console.log('KEPT');
  return res.status(201).json({ id: 3 });
});
app.all(['/', '/teas'], (req, res) => res.status(405).set('Allow', 'GET, POST').json({ error: 'method' }));
app.use((req, res) => res.status(404).json({ error: 'not found' }));
// Without it Express shows the stack of a body that it could not read.
if (defect !== 'stack') {
  app.use((error, req, res, next) => res.status(error.status ?? 500).json({ error: 'refused' }));
}
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
