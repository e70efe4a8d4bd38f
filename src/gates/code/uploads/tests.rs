//! Tests of the signs of uploads.

use super::*;
use crate::gates::sweep;

fn check(path: &str, text: &str, expect: &[What]) {
    let signs = signs(path, Source::of(path).unwrap(), text);
    assert_eq!(signs.iter().map(|s| s.what.clone()).collect::<Vec<_>>(), expect, "{path}: {text}\n{signs:#?}");
}

fn upload(framework: Option<Framework>) -> What {
    What::Upload { framework }
}

#[test]
fn javascript() {
    let up = upload(None);
    check("a.js", "const up = multer({ dest: 'uploads/' })", &[up.clone(), disk("uploads/")]);
    check(
        "a.js",
        "multer.diskStorage({ destination: (req, file, cb) => cb(null, 'public/img') })",
        &[disk("public/img")],
    );
    check("a.js", "multer({ storage: multerS3({ s3, bucket: 'b' }) })", &[up.clone(), store("multerS3")]);
    check("a.js", "multer({ dest: os.tmpdir() })", std::slice::from_ref(&up));
    check("a.js", "// multer({ dest: 'uploads/' })\nconst s = \"multer({ dest: 'x' })\"", &[]);
    check("a.js", "app.use('/uploads', express.static('uploads'))", &[What::Serves { dir: "uploads".into() }]);
    check(
        "a.js",
        "getSignedUrl(s3, c, { expiresIn: 7 * 24 * 3600 })",
        &[store("getSignedUrl"), What::Signed { seconds: 604_800 }],
    );
    check("a.ts", "const b = busboy({}); f.pipe(fs.createWriteStream('up/x'))", &[up, disk("up/x")]);
    check("a.js", "fs.createWriteStream('log')", &[]);
}

#[test]
fn other_languages() {
    let up = upload(None);
    check("m.py", "f = models.ImageField(upload_to='a')", &[upload(Some(Framework::Django))]);
    check("a.py", "f = request.files['a']\nf.save('uploads/a')", &[up.clone(), disk("uploads/a")]);
    check(
        "a.py",
        "def f(file: UploadFile):\n  s3.upload_fileobj(file.file, 'b', 'k')",
        &[store("upload_fileobj"), up.clone()],
    );
    check("a.py", "user.save('x')", &[]);
    check("a.rb", "class A\n has_many_attached :x\nend", &[upload(Some(Framework::Rails))]);
    check("u.rb", "class U < CarrierWave::Uploader::Base\n storage :fog\nend", &[store("CarrierWave :fog")]);
    check("a.php", "<?php $r->file('a')->store('a', 's3');", &[up.clone(), store("disk s3")]);
    check("a.php", "<?php $r->file('a')->store('a');", &[upload(Some(Framework::Laravel))]);
    check("a.php", "<?php move_uploaded_file($t, 'up/x');", &[up.clone(), disk("up/x")]);
    check("a.go", "package a\nfunc f() { c.SaveUploadedFile(f, \"./up\") }", &[up.clone(), disk("./up")]);
    check("A.java", "class A { void f(MultipartFile m) { m.transferTo(p); } }", &[up, disk("p")]);
}

#[test]
fn only_what_ships_is_looked_into() {
    let (_dir, repo) = crate::gates::testing::repo(&[
        ("src/a.js", "multer({ dest: 'up' })"),
        ("tests/b.js", "multer({ dest: 'up' })"),
        ("src/C.cs", "class C {\n void F(IFormFile f) {} }"),
        ("views/d.html", "<input type=\"file\">"),
    ]);
    let code = gather(sweep::alone(&repo, Looking).1);
    let traces: Vec<_> = code.traces.iter().map(|t| (t.file.as_str(), t.line)).collect();
    assert_eq!((code.signs.len(), code.inspected, traces), (2, 3, vec![("src/C.cs", 2), ("views/d.html", 1)]));
}

/// A form stands in a page; in Python `type="file"` is an argument.
#[test]
fn a_form_is_no_trace_outside_of_pages() {
    let (_dir, repo) = crate::gates::testing::repo(&[
        ("src/types.py", "raise BadParameter(type=\"file\")\n"),
        ("src/form.jsx", "export const F = () => <input type=\"file\" />\n"),
    ]);
    let traces: Vec<String> = gather(sweep::alone(&repo, Looking).1).traces.into_iter().map(|t| t.file).collect();
    assert_eq!(traces, ["src/form.jsx"]);
}
