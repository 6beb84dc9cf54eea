// What the documentation's examples are run by: `include!`d into each of them, where a reader does not see it.

/// Calls `example` with a client of a sandbox of its own; as a container's init when that is what is asked for.
fn in_a_sandbox() -> std::process::ExitCode {
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == "container-init") {
        return bowline_sandbox::init::main(words);
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let init = bowline_sandbox::InitCommand {
            program: std::env::current_exe().expect("a program"),
            arguments: vec!["container-init".into()],
        };
        let options = bowline_sandbox::Options::new(init);
        let sandbox = bowline_sandbox::Sandbox::start(options).await.expect("a sandbox");
        let of_sandbox = |wanted: &str| {
            let variables = sandbox.environment().into_iter();
            let mut found = variables.filter_map(|(name, value)| (name == wanted).then_some(value?));
            found.next().expect("a variable of the sandbox")
        };
        let client = bowline::Client::connect(bowline::ClientOptions {
            region: Some(of_sandbox("AWS_REGION")),
            endpoint_url: Some(sandbox.endpoint().to_owned()),
            credentials: Some(bowline::Credentials {
                access_key_id: of_sandbox("AWS_ACCESS_KEY_ID"),
                secret_access_key: bowline::Secret::new(of_sandbox("AWS_SECRET_ACCESS_KEY")),
                session_token: None,
                expires_at: None,
            }),
            ..bowline::ClientOptions::default()
        });
        example(client.await.expect("a client")).await.expect("the example");
        sandbox.shutdown().await;
    });
    std::process::ExitCode::SUCCESS
}
