//! Small applications in each framework, with the routes that they have; what nobody can follow stays uncertain.

use super::*;
use crate::gates::testing;

fn inventory(files: &[(&str, &str)]) -> Inventory {
    let (_dir, repo) = testing::repo(files);
    look(&repo, &Facts::look(&repo))
}

/// `METHOD template file:line`, with a `?` where uncertain.
fn told(files: &[(&str, &str)]) -> Vec<String> {
    let told = |r: &Route| {
        let mark = if r.certain { "" } else { "? " };
        format!("{mark}{} {} {}:{}", r.method, r.template, r.file, r.line)
    };
    inventory(files).routes.iter().map(told).collect()
}

const EXPRESS: &str = "{\"dependencies\": {\"express\": \"4\"}}";

#[test]
fn express_across_files() {
    let files = [
        ("package.json", EXPRESS),
        (
            "src/app.js",
            "const express = require('express');\nconst users = require('./users');\nconst V = '/v1';\nconst app = express();\n\
             app.get('/', (q, s) => s.send('x'));\napp.set('port', 1);\napp.get('port');\n\
             app.use(express.json());\napp.use(`/api${V}`, auth, users);\nrequire('./admin')(app);\n\
             app.use('/made', require('./factory')('x'));\napp.all('/any', h);\napp.route('/book').get(h).post(h);\n\
             app.use(PREFIX, late);\napp.get(/^\\/re$/, h);\n",
        ),
        (
            "src/users.js",
            "const { Router } = require('express');\nconst router = Router();\nconst inner = Router();\n\
             router.get('/users/:id', a, b);\nrouter.delete(['/a', '/b'], h);\ninner.get('/', h);\n\
             router.use('/inner', inner);\nmodule.exports = router;\n",
        ),
        (
            "src/admin.js",
            "module.exports = function (app) {\n  app.post('/admin', (req, res) => { req.get('/host', f); });\n};\n",
        ),
        (
            "src/factory.js",
            "module.exports = (x) => {\n  const router = require('express').Router();\n  router.put('/thing', h);\n  return router;\n};\n",
        ),
        (
            "src/lost.js",
            "import express from 'express';\nexport const lost = express.Router();\nlost.patch('/lost', h);\n",
        ),
        ("src/client.js", "export async function f(client) { await client.get('/not-a-route', cb); }\n"),
        ("test/app.test.js", "const app = require('express')(); app.get('/test', h);\n"),
    ];
    assert_eq!(
        told(&files),
        [
            "GET / src/app.js:5",
            "POST /admin src/admin.js:2",
            "ANY /any src/app.js:12",
            "DELETE /api/v1/a src/users.js:5",
            "DELETE /api/v1/b src/users.js:5",
            "GET /api/v1/inner src/users.js:6",
            "GET /api/v1/users/{id} src/users.js:4",
            "GET /book src/app.js:13",
            "POST /book src/app.js:13",
            "? PATCH /lost src/lost.js:3",
            "PUT /made/thing src/factory.js:3",
        ]
    );
    let unread: Vec<String> =
        inventory(&files).unread.iter().map(|u| format!("{}:{} {}", u.file, u.line, u.why)).collect();
    assert_eq!(unread, ["src/app.js:15 a path that is a regular expression"]);
}

#[test]
fn express_in_typescript_with_fields_and_exports() {
    let files = [
        ("package.json", EXPRESS),
        (
            "src/server.ts",
            "import express, { Application } from 'express';\nimport { api } from './routes';\n\
             export class Server {\n  private app: Application = express();\n  constructor() {\n    this.app.use('/api', api);\n\
             this.app.get('/health', (_q, s) => s.send(1));\n  }\n}\n",
        ),
        ("src/routes/index.ts", "export { router as api } from './api.js';\n"),
        (
            "src/routes/api.ts",
            "import { Router } from 'express';\nimport * as pets from '../pets';\nconst router = Router();\n\
             router.use('/pets', pets.router);\nexport { router };\n",
        ),
        (
            "src/pets.ts",
            "import express from 'express';\nexport const router = express.Router();\nrouter.get('/:name', h);\n",
        ),
    ];
    assert_eq!(told(&files), ["GET /api/pets/{name} src/pets.ts:3", "GET /health src/server.ts:7"]);
}

#[test]
fn fastify_and_its_plugins() {
    let files = [
        ("package.json", "{\"dependencies\": {\"fastify\": \"5\"}}"),
        (
            "app.js",
            "import Fastify from 'fastify'\nimport users from './users.js'\nconst app = Fastify({ logger: true })\n\
             app.get('/', async () => 1)\napp.register(users, { prefix: '/v1' })\n\
             app.register(async (inner, opts) => {\n  inner.get('/deep/:id', h)\n}, { prefix: '/in' })\n\
             app.route({ method: ['GET', 'HEAD'], url: '/both', handler: h })\n",
        ),
        (
            "users.js",
            "import fp from 'fastify-plugin'\nasync function users (fastify, opts) {\n  fastify.get('/users', { schema }, async () => 1)\n\
             fastify.post('/', h)\n}\nexport default fp(users)\n",
        ),
        ("stray.js", "module.exports = async function (fastify) {\n  fastify.get('/stray', h)\n}\n"),
    ];
    assert_eq!(
        told(&files),
        [
            "GET / app.js:4",
            "GET /both app.js:9",
            "HEAD /both app.js:9",
            "GET /in/deep/{id} app.js:7",
            "? GET /stray stray.js:2",
            "POST /v1 users.js:4",
            "GET /v1/users users.js:3",
        ]
    );
}

#[test]
fn koa_routers_below_each_other() {
    let files = [
        ("package.json", "{\"dependencies\": {\"koa\": \"2\"}}"),
        (
            "app.js",
            "const Koa = require('koa');\nconst Router = require('@koa/router');\nconst app = new Koa();\n\
             const router = new Router({ prefix: '/api' });\nconst users = new Router();\nusers.get('one', '/:id', h);\n\
             router.use('/users', users.routes(), users.allowedMethods());\napp.use(router.routes());\n",
        ),
    ];
    assert_eq!(told(&files), ["GET /api/users/{id} app.js:6"]);
}

#[test]
fn nest_controllers() {
    let controller = "import { Controller, Get, Post } from '@nestjs/common';\n@Controller('cats')\nexport class Cats {\n  @Get()\n  all() {}\n\
                      @UseGuards(A)\n  @Post(':id/name')\n  name(@Param('id') id: string) {}\n  helper() {}\n}\n";
    let main = "import { NestFactory } from '@nestjs/core';\nconst app = await NestFactory.create(M);\napp.setGlobalPrefix('api');\n";
    let files = [("src/cats.controller.ts", controller), ("src/main.ts", main)];
    assert_eq!(
        told(&files),
        ["GET /api/cats src/cats.controller.ts:4", "POST /api/cats/{id}/name src/cats.controller.ts:7"]
    );
}

#[test]
fn next_files() {
    let files = [
        ("web/package.json", "{\"dependencies\": {\"next\": \"15\"}}"),
        ("web/src/app/page.tsx", ""),
        ("web/src/app/(shop)/cart/[id]/page.tsx", ""),
        (
            "web/src/app/api/pay/route.ts",
            "export async function POST(req: Request) {}\nconst GET = h;\nexport { GET };\n",
        ),
        ("web/pages/api/users/[...all].ts", "export default h"),
        ("web/pages/_app.tsx", ""),
        ("web/pages/about/index.tsx", ""),
        ("pages/api/elsewhere.ts", "export default h"),
    ];
    assert_eq!(
        told(&files),
        [
            "GET / web/src/app/page.tsx:1",
            "GET /about web/pages/about/index.tsx:1",
            "GET /api/pay web/src/app/api/pay/route.ts:3",
            "POST /api/pay web/src/app/api/pay/route.ts:1",
            "ANY /api/users/{all} web/pages/api/users/[...all].ts:1",
            "GET /cart/{id} web/src/app/(shop)/cart/[id]/page.tsx:1",
        ]
    );
}

#[test]
fn flask_blueprints() {
    let files = [
        (
            "shop/__init__.py",
            "from flask import Flask\nfrom . import users\nfrom .admin import bp as admin\n\ndef create_app():\n    app = Flask(__name__)\n\n\
             \x20   @app.route('/')\n    def index(): ...\n\n    app.register_blueprint(users.bp)\n    app.register_blueprint(admin, url_prefix='/manage')\n\
             \x20   users.init_app(app)\n    return app\n",
        ),
        (
            "shop/users.py",
            "from flask import Blueprint\nbp = Blueprint('users', __name__, url_prefix='/users')\n\n@bp.route('/<int:id>', methods=['GET', 'PUT'])\ndef one(id): ...\n\n\
             @bp.post('/')\ndef create(): ...\n\ndef init_app(app):\n    app.add_url_rule('/late', view_func=V.as_view('v'))\n",
        ),
        (
            "shop/admin.py",
            "from flask import Blueprint\nbp = Blueprint('a', __name__, url_prefix='/admin')\n@bp.route('/all')\ndef all(): ...\n",
        ),
        (
            "shop/lost.py",
            "from flask import Blueprint\nlost = Blueprint('l', __name__)\n@lost.get('/lost')\ndef x(): ...\n",
        ),
    ];
    assert_eq!(
        told(&files),
        [
            "GET / shop/__init__.py:8",
            "ANY /late shop/users.py:11",
            "? GET /lost shop/lost.py:3",
            "GET /manage/all shop/admin.py:3",
            "POST /users/ shop/users.py:7",
            "GET /users/{id} shop/users.py:4",
            "PUT /users/{id} shop/users.py:4",
        ]
    );
}

#[test]
fn fastapi_routers() {
    let files = [
        (
            "app/main.py",
            "from fastapi import FastAPI\nfrom app.api import router\nfrom app.settings import settings\napp = FastAPI()\n\
             app.include_router(router, prefix=settings.API)\n\n@app.get('/health')\ndef health(): ...\n",
        ),
        ("app/settings.py", "class Settings:\n    API: str = '/api/v1'\nsettings = Settings()\n"),
        (
            "app/api.py",
            "from fastapi import APIRouter\nfrom app.routes import items\nrouter = APIRouter()\nrouter.include_router(items.router, tags=['x'])\n",
        ),
        ("app/routes/__init__.py", ""),
        (
            "app/routes/items.py",
            "from fastapi import APIRouter\nrouter = APIRouter(prefix='/items')\n@router.get('/{id}')\ndef one(id: int): ...\n\
             @router.api_route('/', methods=['POST', 'PUT'])\ndef many(): ...\n",
        ),
    ];
    assert_eq!(
        told(&files),
        [
            "POST /api/v1/items/ app/routes/items.py:5",
            "PUT /api/v1/items/ app/routes/items.py:5",
            "GET /api/v1/items/{id} app/routes/items.py:3",
            "GET /health app/main.py:7",
        ]
    );
}

#[test]
fn django_urls() {
    let files = [
        ("shop/settings.py", "import os\nROOT_URLCONF = 'shop.urls'\n"),
        (
            "shop/urls.py",
            "from django.urls import include, path, re_path\nfrom rest_framework import routers\nrouter = routers.DefaultRouter()\n\
             router.register(r'orders', V)\nurlpatterns = [\n    path('', home),\n    path('blog/', include('blog.urls')),\n\
             \x20   re_path(r'^old/(?P<y>[0-9]{4})/$', old),\n    path('api/', include(router.urls)),\n\
             \x20   path('in/', include([path('<slug:s>/', v)])),\n    path('admin/', admin.site.urls),\n]\n",
        ),
        ("blog/urls.py", "from django.urls import path\nurlpatterns = [path('<int:pk>/', show)]\n"),
        ("lost/urls.py", "from django.urls import path\nurlpatterns = [path('lost/', show)]\n"),
    ];
    assert_eq!(
        told(&files),
        [
            "ANY / shop/urls.py:6",
            "GET /api/ shop/urls.py:3",
            "ANY /api/orders/ shop/urls.py:4",
            "ANY /api/orders/{pk}/ shop/urls.py:4",
            "ANY /blog/{pk}/ blog/urls.py:2",
            "ANY /in/{s}/ shop/urls.py:10",
            "? ANY /lost/ lost/urls.py:2",
            "ANY /old/{y}/ shop/urls.py:8",
        ]
    );
}

#[test]
fn rails_routes() {
    let files = [
        (
            "config/routes.rb",
            "Rails.application.routes.draw do\n  root 'home#index'\n  get '/about' => 'home#about'\n  resources :posts, only: [:index, :show] do\n\
             \x20   member do\n      post :like\n    end\n    get :recent, on: :collection\n    resources :comments, only: %i[create]\n  end\n\
             \x20 namespace :admin do\n    resource :profile, only: :show\n  end\n  scope '/v1' do\n    match 'ping', to: 'x#y', via: [:get, :post]\n  end\n\
             \x20 constraints(subdomain: 'x') do\n    get 'sub', to: 'x#y'\n  end\n  draw(:more)\n  mount Engine => '/jobs'\nend\n",
        ),
        ("config/routes/more.rb", "delete 'more/:id(.:format)', to: 'x#y'\n"),
    ];
    assert_eq!(
        told(&files),
        [
            "GET / config/routes.rb:2",
            "GET /about config/routes.rb:3",
            "GET /admin/profile config/routes.rb:12",
            "DELETE /more/{id} config/routes/more.rb:1",
            "GET /posts config/routes.rb:4",
            "GET /posts/recent config/routes.rb:8",
            "GET /posts/{id} config/routes.rb:4",
            "POST /posts/{id}/like config/routes.rb:6",
            "POST /posts/{post_id}/comments config/routes.rb:9",
            "GET /sub config/routes.rb:18",
            "GET /v1/ping config/routes.rb:15",
            "POST /v1/ping config/routes.rb:15",
        ]
    );
    assert_eq!(inventory(&files).unread.len(), 1);
}

#[test]
fn spring_controllers() {
    let java = "package com.example.shop;\n@RestController\n@RequestMapping(Users.BASE + \"/users\")\nclass Users {\n  static final String BASE = \"/api\";\n\
                @GetMapping\n  List<User> all() {}\n  @GetMapping(\"/{id:[0-9]+}\")\n  User one() {}\n\
                @RequestMapping(path = {\"/a\", \"/b\"}, method = {RequestMethod.POST, RequestMethod.PUT})\n  void many() {}\n}\n";
    let java = java.replace("Users.BASE + \"/users\"", "\"/api/users\"");
    let feign = "@FeignClient(\"x\")\ninterface Other {\n  @GetMapping(\"/theirs\")\n  String x();\n}\n";
    let files = [
        ("src/main/java/com/example/shop/Users.java", java.as_str()),
        ("src/main/java/com/example/shop/Other.java", feign),
        ("src/main/resources/application.properties", "server.servlet.context-path=/shop\n"),
    ];
    let at = "src/main/java/com/example/shop/Users.java";
    assert_eq!(
        told(&files),
        [
            format!("GET /shop/api/users {at}:6"),
            format!("POST /shop/api/users/a {at}:10"),
            format!("PUT /shop/api/users/a {at}:10"),
            format!("POST /shop/api/users/b {at}:10"),
            format!("PUT /shop/api/users/b {at}:10"),
            format!("GET /shop/api/users/{{id}} {at}:8"),
        ]
    );
}

#[test]
fn go_routers() {
    let files = [
        (
            "cmd/shop/main.go",
            "package main\nimport (\n\t\"net/http\"\n\t\"github.com/go-chi/chi/v5\"\n\t\"x.example/shop/internal/users\"\n)\nconst base = \"/api\"\n\
             func main() {\n\tr := chi.NewRouter()\n\tr.Use(mw)\n\tr.Get(\"/\", h)\n\tr.Route(base+\"/items\", func(r chi.Router) {\n\t\tr.With(x).Put(\"/{id:[0-9]+}\", h)\n\t})\n\
             \tr.Mount(\"/users\", users.Router())\n\tr.Group(func(g chi.Router) { g.Method(\"PATCH\", \"/m\", h) })\n\thttp.ListenAndServe(\":1\", r)\n}\n",
        ),
        (
            "internal/users/users.go",
            "package users\nimport \"github.com/go-chi/chi/v5\"\nfunc Router() http.Handler {\n\tr := chi.NewRouter()\n\tr.Delete(\"/{id}\", h)\n\treturn r\n}\n",
        ),
        (
            "cmd/gin/main.go",
            "package main\nimport \"github.com/gin-gonic/gin\"\nfunc main() {\n\tr := gin.Default()\n\tv1 := r.Group(\"/v1\")\n\t{\n\t\tv1.GET(\"/u/:id\", h)\n\t}\n\tregister(v1.Group(\"/x\"))\n\tr.Any(\"/any\", h)\n}\n\
             func register(g *gin.RouterGroup) { g.POST(\"/files/*path\", h) }\n",
        ),
        (
            "cmd/std/main.go",
            "package main\nimport \"net/http\"\nfunc main() {\n\tmux := http.NewServeMux()\n\tmux.HandleFunc(\"GET /a/{id}\", h)\n\thttp.HandleFunc(\"/default\", h)\n\
             \tsub := http.NewServeMux()\n\tsub.HandleFunc(\"/x\", h)\n\tmux.Handle(\"/sub/\", http.StripPrefix(\"/sub\", sub))\n\
             \tsrv := &http.Server{Handler: logged(mux)}\n\tclient.Get(\"/not\", h)\n}\n",
        ),
        (
            "lost/lost.go",
            "package lost\nimport \"github.com/gin-gonic/gin\"\nfunc Add(r *gin.RouterGroup) { r.GET(\"/lost\", h) }\n",
        ),
    ];
    assert_eq!(
        told(&files),
        [
            "GET / cmd/shop/main.go:11",
            "GET /a/{id} cmd/std/main.go:5",
            "ANY /any cmd/gin/main.go:10",
            "PUT /api/items/{id} cmd/shop/main.go:13",
            "ANY /default cmd/std/main.go:6",
            "? GET /lost lost/lost.go:3",
            "PATCH /m cmd/shop/main.go:16",
            "ANY /sub/x cmd/std/main.go:8",
            "DELETE /users/{id} internal/users/users.go:5",
            "GET /v1/u/{id} cmd/gin/main.go:7",
            "POST /v1/x/files/{path} cmd/gin/main.go:12",
        ]
    );
}

#[test]
fn axum_routers() {
    let files = [
        (
            "src/main.rs",
            "use axum::{Router, routing::{get, post}};\nmod users;\nconst V: &str = \"/v2\";\nasync fn main() {\n    let app = Router::new()\n        .route(\"/\", get(root))\n\
             \x20       .route(\"/both/:id\", get(a).post(b))\n        .nest(\"/users\", users::router())\n        .merge(more());\n    let app = app.route(V, any(x)).layer(y);\n\
             \x20   axum::serve(listener, app).await.unwrap();\n}\nfn more() -> Router {\n    let r = Router::new();\n    r.route(\"/more\", axum::routing::delete(d))\n}\n",
        ),
        (
            "src/users.rs",
            "use axum::Router;\npub fn router() -> Router {\n    Router::new().route(\"/{*rest}\", get(x))\n}\n",
        ),
        (
            "src/lost.rs",
            "use axum::Router;\npub fn lost() -> Router {\n    Router::new().route(\"/lost\", post(x))\n}\n",
        ),
    ];
    assert_eq!(
        told(&files),
        [
            "GET / src/main.rs:6",
            "GET /both/{id} src/main.rs:7",
            "POST /both/{id} src/main.rs:7",
            "? POST /lost src/lost.rs:3",
            "DELETE /more src/main.rs:15",
            "GET /users/{rest} src/users.rs:3",
            "ANY /v2 src/main.rs:10",
        ]
    );
}

#[test]
fn actix_scopes() {
    let main = "use actix_web::{web, App, HttpServer, get};\n#[get(\"/hello/{name}\")]\nasync fn hello() {}\n#[post(\"/stray\")]\nasync fn stray() {}\n\
                fn config(cfg: &mut web::ServiceConfig) {\n    cfg.service(web::resource(\"/conf\").route(web::get().to(x)).route(web::post().to(y)));\n}\n\
                async fn main() {\n    HttpServer::new(|| App::new().service(web::scope(\"/api\").service(hello).route(\"/y\", web::put().to(z))).configure(config));\n}\n";
    assert_eq!(
        told(&[("src/main.rs", main)]),
        [
            "GET /api/hello/{name} src/main.rs:2",
            "PUT /api/y src/main.rs:10",
            "GET /conf src/main.rs:7",
            "POST /conf src/main.rs:7",
            "? POST /stray src/main.rs:4",
        ]
    );
}

#[test]
fn circles_and_broken_files_end() {
    let circle = "const express = require('express'); const a = express.Router(), b = express.Router(); const app = express();\n\
                  app.use('/a', a); a.use('/b', b); b.use('/a', a); a.get('/x', h);\nlet c = d; let d = c; app.use(c);\n";
    let found =
        inventory(&[("package.json", EXPRESS), ("a.js", circle), ("b.js", "const app = require('express')( ((( {{{")]);
    assert!(found.routes.iter().any(|r| r.template == "/a/x") && found.routes.len() < 50, "{found:?}");
    let rust =
        "use axum::Router; fn f(r: Router) -> Router { let r = r; let r = g(r); r } fn g(r: Router) -> Router { f(r) }";
    inventory(&[("a.rs", rust)]);
    let go = "package a\nimport \"github.com/go-chi/chi\"\nfunc F() chi.Router { r := F(); r = r.With(x); return r }\n";
    inventory(&[("a.go", go)]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
    #[test]
    fn no_text_stops_a_reader(
        pieces in proptest::collection::vec(proptest::sample::select(vec![
            "const express = require('express');", "app = express()", ".use(", "'/a'", ", app", ")", "=> {", "}", "router.get('/x', h)",
            "from flask import Flask\n", "app = Flask(x)\n", "@app.route('/')\ndef f(app): ", "urlpatterns = [path(", "include('a'", "]",
            "func f(r chi.Router) ", "r := chi.NewRouter()\n", "r.Route(\"/x\", func", "{", "\n", "Router::new()", ".nest(\"/x\", ", "fn f() -> Router {",
            "import \"github.com/go-chi/chi\"\n", "resources :a do\n", "end\n", "draw do\n", "@GetMapping(", "class A {", "\"", "(",
        ]), 0..25)
    ) {
        let text = pieces.concat();
        let files: Vec<(&str, &str)> =
            ["a.js", "b.py", "c.go", "d.rs", "E.java", "config/routes.rb", "f.ts"].into_iter().map(|p| (p, text.as_str())).collect();
        inventory(&files);
    }
}
