//! Where uploaded files go, as the code says it: handlers that take uploads, and what they hand them to (a disk, memory,
//! an object store). Calls come from syntax trees; what a framework's settings decide is in `upload_settings.rs`. Knows
//! no verdict.

mod words;

use serde::{Deserialize, Serialize};

use super::calls::{self, Call, literals};
use super::role::Role;
use super::syntax::{self, Language, Source};
use crate::gates::context::{RepoFile, SOURCE_FILE_BYTES_MAX};
use crate::gates::{Found, Reader};
use words::{ANY, PAGES, SPEAKS, TRACE, TRACES};

/// One sign, with its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sign {
    pub file: String,
    pub line: u32,
    pub what: What,
    /// The call, or the setting's key.
    pub by: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Takes uploads; `framework` when settings decide where they go.
    Upload { framework: Option<Framework> },
    /// Kept on this machine's disk.
    Disk { dir: String },
    /// Handed to an object store or a media service.
    Store { name: String },
    /// A signed address that lives so many seconds.
    Signed { seconds: u64 },
    /// Serves a folder of uploads itself.
    Serves { dir: String },
}

/// Frameworks whose settings name the storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framework {
    Django,
    Rails,
    Laravel,
}

/// Everything the source tells.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Code {
    /// Sorted by file and line.
    pub signs: Vec<Sign>,
    /// Source files and templates that run in production and were looked into.
    pub inspected: usize,
    /// Words of uploads in files without a sign.
    pub traces: Vec<Trace>,
}

/// A word that speaks of uploads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    pub file: String,
    pub line: u32,
    pub word: String,
}

/// Looks into every source file and template that ships.
pub struct Looking;

impl Reader for Looking {
    /// The signs, or a trace where there are none.
    type Found = (Vec<Sign>, Option<Trace>);

    fn wants(&self, file: &RepoFile) -> Option<u64> {
        let may_speak = Source::of(&file.path).is_some() || PAGES.iter().any(|p| file.path.ends_with(p));
        let wanted = may_speak && file.bytes <= SOURCE_FILE_BYTES_MAX && Role::of_path(&file.path).ships();
        wanted.then_some(SOURCE_FILE_BYTES_MAX)
    }

    fn read(&self, file: &RepoFile, text: Option<&[u8]>) -> Self::Found {
        let Some(text) = text.filter(|text| ANY.any_in(text)) else { return (Vec::new(), None) };
        let text = String::from_utf8_lossy(text);
        let source = Source::of(&file.path).filter(|_| SPEAKS.any_in(text.as_bytes()));
        let found = source.map(|source| signs(&file.path, source, &text)).unwrap_or_default();
        // A form stands in a page or a component; elsewhere the words are a parameter or a comment.
        let no_page = ["py", "go", "rs", "rb", "java", "kt"].iter().any(|e| file.path.ends_with(&format!(".{e}")));
        let form = |m: &aho_corasick::Match| TRACES[m.pattern().as_usize()].starts_with("type=");
        let trace = TRACE.as_ref().and_then(|t| t.find(text.as_ref()));
        let trace = trace.filter(|m| found.is_empty() && !(no_page && form(m))).map(|m| {
            let line = text[..m.start()].matches('\n').count() as u32 + 1;
            Trace { file: file.path.clone(), line, word: TRACES[m.pattern().as_usize()].to_string() }
        });
        (found, trace)
    }
}

/// Adds up what was found in each file.
pub fn gather(found: Found<Looking>) -> Code {
    let mut code = Code { inspected: found.len(), ..Code::default() };
    for (_, (signs, trace)) in found {
        code.signs.extend(signs);
        code.traces.extend(trace);
    }
    code.signs.sort();
    code.signs.dedup();
    code
}

/// The signs of one file; empty when it cannot be parsed.
pub fn signs(path: &str, source: Source, text: &str) -> Vec<Sign> {
    let Some(parsed) = syntax::parse(source, text.as_bytes()) else { return Vec::new() };
    let calls = calls::calls(&parsed, text.as_bytes());
    let file = File { path, text, takes_uploads: takes_uploads(parsed.language, text, &calls) };
    calls.iter().flat_map(|call| file.signs(parsed.language, call)).collect()
}

struct File<'a> {
    path: &'a str,
    text: &'a str,
    /// Something in this file hands us an uploaded file.
    takes_uploads: bool,
}

/// Uploads that come as a value rather than by a call: Flask's `request.files`, FastAPI's and Spring's parameters.
fn takes_uploads(language: Language, text: &str, calls: &[Call]) -> bool {
    match language {
        Language::Python => text.contains("request.files") || text.contains("UploadFile"),
        Language::Java => text.contains("MultipartFile"),
        Language::Go => calls.iter().any(|c| matches!(c.name(), "FormFile" | "MultipartReader")),
        l if l.is_javascript() => calls.iter().any(|c| {
            matches!(c.name(), "busboy" | "Busboy" | "formidable" | "IncomingForm" | "fileUpload")
                || c.arguments.contains("@fastify/multipart")
        }),
        _ => false,
    }
}

impl File<'_> {
    /// An adapter of a storage layer: what it writes is what was handed in.
    fn is_storage(&self) -> bool {
        let path = self.path.to_ascii_lowercase();
        path.rsplit('/').take(2).any(|part| part.contains("storage") && !part.contains("session"))
    }

    fn signs(&self, language: Language, call: &Call) -> Vec<Sign> {
        let found = match language {
            l if l.is_javascript() => self.javascript(call),
            Language::Python => self.python(call),
            Language::Ruby => ruby(call),
            Language::Php => php(call),
            Language::Go => self.go(call),
            Language::Java => self.java(call),
            _ => Vec::new(),
        };
        let sign = |what| Sign { file: self.path.to_string(), line: call.line, what, by: short(&call.callee) };
        // A temporary folder keeps nothing.
        found.into_iter().filter(|w| !matches!(w, What::Disk { dir } if is_temporary(dir))).map(sign).collect()
    }

    fn javascript(&self, call: &Call) -> Vec<What> {
        let (callee, name, arguments) = (call.callee.as_str(), call.name(), call.arguments.as_str());
        let upload = What::Upload { framework: None };
        match name {
            "multer" if arguments.contains("dest:") || arguments.contains("dest :") => {
                vec![upload, disk(&after(arguments, "dest"))]
            }
            "multer" => vec![upload],
            "FileInterceptor" | "FilesInterceptor" => match after(arguments, "dest") {
                dir if dir.is_empty() => vec![upload],
                dir => vec![upload, disk(&dir)],
            },
            "diskStorage" => vec![disk(&destination(arguments))],
            "multerS3"
            | "multerS3V3"
            | "MulterGoogleCloudStorage"
            | "MulterAzureStorage"
            | "CloudinaryStorage"
            | "GridFsStorage" => vec![store(name)],
            "formidable" | "IncomingForm" if arguments.contains("uploadDir") => {
                vec![upload, disk(&after(arguments, "uploadDir"))]
            }
            "formidable" | "IncomingForm" | "busboy" | "Busboy" => vec![upload],
            "fileUpload" if self.text.contains("express-fileupload") => vec![upload],
            "mv" if self.text.contains("express-fileupload") || self.text.contains(".files.") => {
                vec![disk(first(call))]
            }
            "createWriteStream" | "writeFile" | "writeFileSync" if self.takes_uploads || self.is_storage() => {
                vec![disk(first(call))]
            }
            "PutObjectCommand" | "putObject" | "presignedPutObject" | "uploadStream" | "uploadData"
            | "upload_stream" => vec![store(name)],
            "Upload" if self.text.contains("@aws-sdk/lib-storage") => vec![store("@aws-sdk/lib-storage")],
            "upload"
                if ["s3.upload", "uploader.upload", "bucket.upload", "S3.upload"]
                    .iter()
                    .any(|e| callee.ends_with(e)) =>
            {
                vec![store(callee)]
            }
            "put" if self.text.contains("@vercel/blob") => vec![store("@vercel/blob")],
            "createPresignedPost" | "getSignedUrl" | "getSignedUrlPromise" | "presignedGetObject" => {
                signed(call, &["expiresIn", "Expires", "expires"])
            }
            "static" | "serveStatic" => literals(arguments)
                .into_iter()
                .filter(|l| ["upload", "media"].iter().any(|w| l.to_ascii_lowercase().contains(w)))
                .map(|dir| What::Serves { dir: dir.to_string() })
                .collect(),
            _ => Vec::new(),
        }
    }

    fn python(&self, call: &Call) -> Vec<What> {
        let (callee, name, arguments) = (call.callee.as_str(), call.name(), call.arguments.as_str());
        let upload = || What::Upload { framework: None };
        let local = self.takes_uploads;
        match name {
            "FileField" | "ImageField" if callee.starts_with("models.") => {
                vec![What::Upload { framework: Some(Framework::Django) }]
            }
            "FileSystemStorage" => vec![disk(first(call))],
            "save" if local && self.text.contains("request.files") && !arguments.contains("buf") => {
                vec![upload(), disk(first(call))]
            }
            "copyfileobj" if local => vec![upload(), disk("")],
            "open" if local && literals(arguments).iter().any(|l| matches!(*l, "wb" | "wb+" | "w+b")) => {
                // `path.open("wb")` says where it writes before the call.
                let path =
                    callee.rsplit_once('.').filter(|(of, _)| !matches!(*of, "io" | "aiofiles" | "codecs" | "os"));
                vec![upload(), disk(path.map_or(first(call), |(path, _)| path))]
            }
            "upload_fileobj" | "put_object" | "upload_file" | "upload_from_file" | "upload_blob"
            | "upload_from_string"
                if callee.contains('.') =>
            {
                let mut out = vec![store(name)];
                out.extend(local.then(upload));
                out
            }
            "generate_presigned_url" | "generate_presigned_post" | "generate_signed_url" => {
                signed(call, &["ExpiresIn", "expiration"])
            }
            _ => Vec::new(),
        }
    }

    fn go(&self, call: &Call) -> Vec<What> {
        let upload = What::Upload { framework: None };
        match call.name() {
            "SaveUploadedFile" => vec![upload, disk(call.literals().first().copied().unwrap_or_default())],
            "FormFile" => vec![upload],
            "Create" | "OpenFile" | "WriteFile"
                if self.takes_uploads && (call.callee.starts_with("os.") || call.callee.starts_with("ioutil.")) =>
            {
                vec![disk(first(call))]
            }
            "PutObject" | "FPutObject" | "PresignPutObject" | "PresignedPutObject" => vec![store(call.name())],
            "Upload" if self.text.contains("s3manager") || self.text.contains("feature/s3/manager") => {
                vec![store("s3manager")]
            }
            "NewWriter" if self.text.contains("cloud.google.com/go/storage") => vec![store("Google Cloud Storage")],
            _ => Vec::new(),
        }
    }

    fn java(&self, call: &Call) -> Vec<What> {
        let upload = || What::Upload { framework: None };
        match call.callee.as_str() {
            "Files.copy" | "Files.write" if self.takes_uploads => vec![upload(), disk(first(call))],
            _ if call.name() == "transferTo" && self.takes_uploads => vec![upload(), disk(first(call))],
            _ if call.name() == "putObject" => {
                let mut out = vec![store("putObject")];
                out.extend(self.takes_uploads.then(upload));
                out
            }
            _ => Vec::new(),
        }
    }
}

fn ruby(call: &Call) -> Vec<What> {
    let elsewhere = ["s3", "fog", "aws", "gcloud", "azure"].iter().any(|s| call.arguments.contains(&format!(":{s}")));
    match (call.callee.as_str(), call.arguments.as_str()) {
        ("has_one_attached" | "has_many_attached", _) => vec![What::Upload { framework: Some(Framework::Rails) }],
        ("has_attached_file", _) if elsewhere => vec![What::Upload { framework: None }, store("Paperclip")],
        ("has_attached_file", _) => vec![What::Upload { framework: None }, disk("public/system")],
        ("mount_uploader" | "mount_uploaders", _) => vec![What::Upload { framework: None }],
        ("storage", ":file") => vec![disk("public/uploads")],
        ("storage", _) if elsewhere => vec![store(&format!("CarrierWave {}", call.arguments))],
        (callee, _) if callee.ends_with(".put_object") || callee.ends_with(".upload_file") => vec![store(call.name())],
        _ => Vec::new(),
    }
}

fn php(call: &Call) -> Vec<What> {
    let disks: Vec<&str> = call.literals();
    let named = |disk: &str| disks.contains(&disk);
    let file = call.callee.contains("file(") || call.callee.to_ascii_lowercase().contains("upload");
    match call.name() {
        "store" | "storeAs" | "storePublicly" | "storePubliclyAs" if file && call.callee.contains("->") => {
            let upload = What::Upload { framework: Some(Framework::Laravel) };
            if named("s3") { vec![What::Upload { framework: None }, store("disk s3")] } else { vec![upload] }
        }
        "putFile" | "putFileAs" if call.callee.starts_with("Storage::disk") => {
            if call.callee.contains("s3") {
                vec![What::Upload { framework: None }, store("disk s3")]
            } else {
                vec![What::Upload { framework: None }, disk("storage/app")]
            }
        }
        "putFile" | "putFileAs" if call.callee.starts_with("Storage::") => {
            vec![What::Upload { framework: Some(Framework::Laravel) }]
        }
        "move_uploaded_file" => vec![What::Upload { framework: None }, disk(disks.last().copied().unwrap_or_default())],
        "move" if file && ["public_path", "storage_path"].iter().any(|p| call.arguments.contains(p)) => {
            vec![What::Upload { framework: None }, disk(first(call))]
        }
        _ => Vec::new(),
    }
}

fn disk(dir: &str) -> What {
    What::Disk { dir: if dir.is_empty() { "a local folder".into() } else { short(dir) } }
}

fn store(name: &str) -> What {
    What::Store { name: short(name) }
}

/// The call that signs is a store's, whatever it gives out.
fn signed(call: &Call, keys: &[&str]) -> Vec<What> {
    let seconds = keys.iter().find_map(|k| seconds_after(&call.arguments, k));
    let mut out = vec![store(call.name())];
    out.extend(seconds.map(|seconds| What::Signed { seconds }));
    out
}

/// `expiresIn: 7 * 24 * 3600` → 604800; nothing for anything but a product of numbers.
fn seconds_after(text: &str, key: &str) -> Option<u64> {
    let rest = text[text.find(key)? + key.len()..].trim_start().trim_start_matches(['"', '\'']).trim_start();
    let rest = rest.strip_prefix([':', '='])?;
    let value = rest.split([',', '}', ')', '\n']).next()?;
    value.split('*').try_fold(1u64, |product, n| product.checked_mul(n.trim().replace('_', "").parse().ok()?))
}

/// The first string among the arguments, or their text.
fn first(call: &Call) -> &str {
    call.literals().first().copied().filter(|l| !matches!(*l, "wb" | "w")).unwrap_or(&call.arguments)
}

/// The string after `key:`, or the text there.
fn after(arguments: &str, key: &str) -> String {
    let Some(at) = arguments.find(key) else { return String::new() };
    let rest = arguments[at + key.len()..].trim_start().trim_start_matches([':', '=']);
    let value = rest.split([',', '}', '\n']).next().unwrap_or_default();
    literals(value).first().map_or(value.trim().to_string(), |l| l.to_string())
}

/// Multer's `destination: 'x'` or `cb(null, 'x')`.
fn destination(arguments: &str) -> String {
    let direct = after(arguments, "destination");
    if !direct.contains('(') && !direct.is_empty() {
        return direct;
    }
    let called = arguments.find("(null,").map(|i| &arguments[i + 6..]).unwrap_or_default();
    let value = called.split('\n').next().unwrap_or_default();
    literals(value).first().map_or_else(|| value.trim().trim_end_matches([';', ')']).to_string(), |l| l.to_string())
}

fn is_temporary(dir: &str) -> bool {
    let dir = dir.to_ascii_lowercase();
    dir.starts_with("/tmp")
        || dir.contains("tmpdir")
        || dir.contains("tempfile")
        || dir.contains("gettempdir")
        || dir.contains("mkdtemp")
        || dir.contains("temp_path")
        || dir.trim_start_matches("./").split('/').next().is_some_and(|p| matches!(p, "tmp" | "temp"))
}

/// Expressions are cut: evidence names a place, it does not quote a program.
const TEXT_CHARS_MAX: usize = 80;

fn short(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
