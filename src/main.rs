//! Parse arguments, call `cli::run`, turn the result into an exit code; nothing else.

fn main() -> std::process::ExitCode {
    hypercare::cli::main()
}
