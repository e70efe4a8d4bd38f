//! Words by which a file is worth parsing, and words that speak of uploads whatever the language.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use crate::gates::words::Words;

/// Words without which a file cannot speak of uploads in a way that is understood.
const WORDS: [&str; 42] = [
    "multer",
    "Multer",
    "diskStorage",
    "fileUpload",
    "formidable",
    "busboy",
    "Busboy",
    "PutObject",
    "putObject",
    "put_object",
    "upload_file",
    "createPresignedPost",
    "getSignedUrl",
    "presigned",
    "Presigned",
    "generate_presigned",
    "uploader",
    "uploadStream",
    "uploadData",
    "upload_stream",
    "express.static",
    "FileField",
    "ImageField",
    "FileSystemStorage",
    "request.files",
    "UploadFile",
    "has_one_attached",
    "has_many_attached",
    "has_attached_file",
    "mount_uploader",
    "CarrierWave",
    "move_uploaded_file",
    "storeAs",
    "->store",
    "Storage::",
    "FormFile",
    "SaveUploadedFile",
    "MultipartFile",
    "lib-storage",
    "createWriteStream",
    "writeFile",
    "@fastify/multipart",
];

pub(super) static SPEAKS: LazyLock<Words> = LazyLock::new(|| Words::new(&WORDS));

/// What nearly every program that takes uploads says somewhere, whatever its language and library: without one of these
/// words the absence of uploads is shown, with one of them and no sign it is not.
pub(super) const TRACES: [&str; 22] = [
    "multipart/form-data",
    "type=\"file\"",
    "type='file'",
    "request.files",
    "request.FILES",
    "req.file",
    "ctx.request.files",
    "$_FILES",
    "UploadedFile",
    "IFormFile",
    "HttpPostedFile",
    "Plug.Upload",
    "PartData.FileItem",
    "MultipartFile",
    "MultipartFormData",
    "formidable",
    "busboy",
    "multer",
    "FormFile(",
    "file_field",
    "Multipart::",
    "UploadFile",
];
pub(super) static TRACE: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| AhoCorasick::new(TRACES).ok());
/// One of either: most files are done with here.
pub(super) static ANY: LazyLock<Words> = LazyLock::new(|| Words::new(&[&WORDS[..], &TRACES].concat()));

/// Pages and templates: a form with a file in it is an upload.
pub(super) const PAGES: [&str; 11] =
    [".html", ".erb", ".ejs", ".hbs", ".haml", ".slim", ".twig", ".jinja", ".jinja2", ".heex", ".cshtml"];
