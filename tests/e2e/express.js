// A plain Express app, with helmet when it is asked for: `node express.js helmet`. Prints its port.
const express = require('express');

const app = express();
if (process.argv.includes('helmet')) {
  app.use(require('helmet')());
}
app.get('/', (_req, res) => res.type('html').send('<!doctype html><title>Shop</title><h1>Shop</h1>'));
app.get('/api/items', (_req, res) => res.json({ items: [] }));
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
