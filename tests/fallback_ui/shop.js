// A shop in the browser, in as many kinds as there are ways to fall: node shop.js KIND prints its port.
const express = require('express');
const fs = require('fs');
const kind = process.argv[2];
const app = express();
app.disable('x-powered-by');
const style = '<style>body { font-family: sans-serif }</style>';
const html = (title, body) => `<!doctype html><html lang=en><title>${title}</title>${style}${body}</html>`;

app.get('/api/teas', (req, res) => res.json([{ name: 'Assam of the second flush' }, { name: 'Sencha from Uji' }]));

const plain = {
  // Checks, says, offers a retry.
  good: `<main id=m>Loading…</main><script>
    const m = document.getElementById('m');
    async function load() {
      m.textContent = 'Loading…';
      try {
        const answer = await fetch('/api/teas');
        if (answer.status === 401) throw new Error('You are signed out. Please sign in.');
        if (!answer.ok) throw new Error('');
        const teas = await answer.json();
        m.innerHTML = '<h1>Our teas of the season</h1>' + teas.map(t => '<p>' + t.name + '</p>').join('');
      } catch (e) {
        m.innerHTML = '<div role=alert>Sorry, the teas cannot be shown right now.</div><button>Try again</button>';
        m.querySelector('button').onclick = load;
      }
    }
    load();
  </script>`,
  // Everything comes from the API, and nobody catches.
  blank: `<main id=m></main><script>
    fetch('/api/teas').then(a => a.json()).then(teas => {
      document.getElementById('m').innerHTML = '<h1>Our teas of the season</h1>' + teas.map(t => '<p>' + t.name + '</p>').join('');
    });
  </script>`,
  spinner: `<h1>Our teas of the season</h1><main id=m><p>Loading the teas…</p></main><script>
    fetch('/api/teas').then(a => { if (!a.ok) throw 0; return a.json(); }).then(teas => {
      document.getElementById('m').innerHTML = teas.map(t => '<p>' + t.name + '</p>').join('');
    }).catch(() => {});
  </script>`,
  raw: `<h1>Our teas of the season</h1><main id=m></main><script>
    const m = document.getElementById('m');
    fetch('/api/teas').then(a => a.text().then(t => { if (!a.ok) throw new Error(t); return JSON.parse(t); })).then(teas => {
      m.innerHTML = teas.map(t => '<p>' + t.name + '</p>').join('');
    }).catch(e => { m.innerHTML = '<p role=alert></p><a href="/">Home</a>'; m.firstChild.textContent = e.stack; });
  </script>`,
  'no-way': `<main id=m><h1>Our teas of the season</h1></main><script>
    const m = document.getElementById('m');
    fetch('/api/teas').then(a => { if (!a.ok) throw 0; return a.json(); }).then(teas => {
      m.innerHTML += teas.map(t => '<p>' + t.name + '</p>').join('');
    }).catch(() => { m.innerHTML += '<p role=alert>Sorry, something went wrong.</p>'; });
  </script>`,
  // Remembers the failure, and never asks again.
  stuck: `<main id=m></main><script>
    const m = document.getElementById('m');
    const sorry = () => { m.innerHTML = '<p role=alert>Sorry, the teas cannot be shown.</p><a href="/">Home</a>'; };
    if (localStorage.broken) sorry(); else
    fetch('/api/teas').then(a => { if (!a.ok) throw 0; return a.json(); }).then(teas => {
      m.innerHTML = '<h1>Our teas of the season</h1>' + teas.map(t => '<p>' + t.name + '</p>').join('');
    }).catch(() => { localStorage.broken = '1'; sorry(); });
  </script>`,
};

// The same in React, with and without an error boundary around it.
const react = boundary => `<div id=root></div><script src=/react.js></script><script src=/react-dom.js></script><script>
  const e = React.createElement;
  class Boundary extends React.Component {
    constructor(props) { super(props); this.state = { broken: false }; }
    static getDerivedStateFromError() { return { broken: true }; }
    render() {
      if (!this.state.broken) return this.props.children;
      return e('div', null, e('p', { role: 'alert' }, 'Sorry, this page is not available right now.'),
        e('button', { onClick: () => this.setState({ broken: false }) }, 'Try again'));
    }
  }
  function Teas() {
    const [teas, set] = React.useState(null);
    React.useEffect(() => {
      fetch('/api/teas').then(a => { if (!a.ok) throw new Error('no teas'); return a.json(); })
        .then(set).catch(error => set(() => { throw error; }));
    }, []);
    if (!teas) return e('p', null, 'Loading…');
    return e('div', null, e('h1', null, 'Our teas of the season'), teas.map(t => e('p', { key: t.name }, t.name)));
  }
  const page = e(Teas);
  ReactDOM.createRoot(document.getElementById('root')).render(${boundary ? 'e(Boundary, null, page)' : 'page'});
</script>`;

const modules = process.env.NODE_PATH;
for (const name of ['react', 'react-dom'])
  app.get(`/${name}.js`, (req, res) => res.type('js').send(fs.readFileSync(`${modules}/${name}/umd/${name}.production.min.js`)));

const body = kind.startsWith('react') ? react(kind === 'react-boundary') : plain[kind] || plain.good;
app.get('/', (req, res) => res.send(html('Tea shop', body)));
const lost = html('Not found', '<h1>There is no such page</h1><a href="/">Home</a>');
if (kind === 'bare') app.get('*', (req, res) => res.sendStatus ? res.status(404).type('html').send('<pre>Cannot GET ' + req.path + '</pre>') : 0);
app.use((req, res) => res.status(kind === 'soft' ? 200 : 404).send(lost));
app.use((error, req, res, next) => res.status(400).send(html('Bad address', '<h1>This address is broken</h1><a href="/">Home</a>')));
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.on('SIGTERM', () => process.exit(0));
