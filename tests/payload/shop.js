// A shop's API with one fault at a time: node shop.js FAULT prints its port.
const express = require('express');
const zlib = require('zlib');
const fault = process.argv[2];
const app = express();
app.disable('x-powered-by');
const schema = (properties) => ({ responses: { 200: { description: 'ok', content: { 'application/json': { schema:
  { type: 'array', items: { type: 'object', properties } } } } } } });
const text = { type: 'string' }, number = { type: 'integer' };
const limit = [{ name: 'limit', in: 'query', schema: number }];
const document = { openapi: '3.0.3', info: { title: 'Shop', version: '1' }, paths: {
  '/users': { get: schema({ id: number, name: text }) },
  '/teas': { get: { ...schema({ id: number, name: text, origin: text }), parameters: limit } },
  '/teas/{id}': { get: { parameters: [{ name: 'id', in: 'path', required: true, schema: number }],
    responses: { 200: { description: 'ok', content: { 'application/json': { schema: { type: 'object',
      properties: { id: number, name: text, origin: text } } } } } } } },
} };

function send(req, res, value) {
  const body = Buffer.from(JSON.stringify(value));
  res.type('json').set('Vary', 'Accept-Encoding');
  if (fault !== 'plain' && body.length > 1024 && /gzip/.test(req.headers['accept-encoding'] || ''))
    return res.set('Content-Encoding', 'gzip').send(zlib.gzipSync(body));
  res.send(body);
}

const teas = [...Array(400)].map((_, n) => ({ id: 100 + n, name: `Tea number ${n}`, origin: 'Darjeeling' }));
app.get('/', (req, res) => send(req, res, { service: 'shop' }));
app.get('/openapi.json', (req, res) => send(req, res, document));
app.get('/users', (req, res) => {
  const users = [{ id: 1, name: 'Ann' }, { id: 2, name: 'Bob' }];
  if (fault === 'hash') users[0].digest = '$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy';
  if (fault === 'name') users[0].password = 'correct-horse';
  if (fault === 'undocumented') users[0].shoeSize = 43;
  if (fault === 'emails') users.forEach(u => { u.email = `${u.name}@example.com`; });
  if (fault === 'harmless') Object.assign(users[0], { password: null, hasPassword: true, secret: '********' });
  send(req, res, users);
});
app.get('/teas', (req, res) => {
  const asked = parseInt(req.query.limit, 10);
  if (fault === 'unbounded') return send(req, res, teas);
  send(req, res, teas.slice(0, Math.min(asked || (fault === 'large-page' ? 400 : 50), 400)));
});
app.get('/teas/:id', (req, res) => {
  const tea = teas.find(t => t.id === Number(req.params.id));
  if (!tea) return res.status(404).json({ title: 'no such tea', status: 404 });
  send(req, res, tea);
});

if (fault.startsWith('graphql')) {
  const { createYoga, createSchema } = require('graphql-yoga');
  const { GraphQLError } = require('graphql');
  // Ten levels and fifty fields, introspection aside.
  const limits = context => ({
    OperationDefinition(node) {
      const depth = n => (n.selectionSet ? 1 + Math.max(...n.selectionSet.selections.map(depth)) : 0);
      const own = node.selectionSet.selections.filter(s => !(s.name && s.name.value === '__schema'));
      if (Math.max(0, ...own.map(depth)) > 10) context.reportError(new GraphQLError('the query is too deep'));
      if (own.length > 50) context.reportError(new GraphQLError('the query has too many fields'));
    },
  });
  const yoga = createYoga({
    schema: createSchema({
      typeDefs: 'type Query { me: User, users(first: Int!): [User!]! } type User { id: ID!, name: String!, friends: [User!]! }',
      resolvers: {
        Query: { me: () => { throw new Error('no resolver may run'); }, users: () => { throw new Error('no resolver may run'); } },
      },
    }),
    logging: false,
    plugins: fault === 'graphql-limited' ? [{ onValidate: ({ addValidationRule }) => addValidationRule(limits) }] : [],
  });
  app.use('/graphql', yoga);
}
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
