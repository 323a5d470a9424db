//! Prints `docs/xds-support.md`.

fn main() -> std::process::ExitCode {
    match mesh_xds::json::Descriptors::load() {
        Ok(descriptors) => {
            print!("{}", mesh_xds::fields::document(&descriptors));
            std::process::ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
