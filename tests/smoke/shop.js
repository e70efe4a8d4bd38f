// A small shop on Express with one fault at a time: `node shop.js none|asset|spa|hang`. Prints its port.
const express = require('express');

const fault = process.argv[2];
const app = express();
app.use(express.urlencoded({ extended: false }), express.json());
const asset = fault === 'asset' ? '/assets/app-new.js' : '/assets/app-old.js';
const page = `<!doctype html><html><title>Tea shop</title><script src="${asset}"></script></html>`;
app.get('/assets/app-old.js', (_req, res) => res.type('js').send('1'));
if (fault === 'spa') {
  app.use((_req, res) => res.type('html').send(page));
}
app.get('/', (_req, res) => res.type('html').send(page));
app.get('/health', (_req, res) => res.json({ status: 'pass' }));
app.post('/login', (req, res) => {
  res.cookie('user', req.body.user, { httpOnly: true }).send('welcome');
});
app.get('/basket', (req, res) => {
  if (fault === 'hang') return;
  const user = /user=(\w+)/.exec(req.headers.cookie || '');
  if (!user) return res.status(401).send('who are you?');
  res.send(`basket of ${user[1]}`);
});
const orders = new Set();
app.post('/api/orders', (_req, res) => {
  orders.add(orders.size + 1);
  res.status(201).json({ id: orders.size });
});
app.delete('/api/orders/:id', (req, res) => res.sendStatus(orders.delete(Number(req.params.id)) ? 204 : 500));
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
