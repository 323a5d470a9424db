use super::*;

fn answer(body: Value) -> Answer {
    Answer {
        status: StatusCode::UNPROCESSABLE_ENTITY,
        body,
    }
}

#[test]
fn causes_become_problems_at_their_line() {
    let text = "kind: VirtualService\nspec:\n  hosts: []\n";
    let body = json!({"details": {"causes": [{"field": "spec.hosts", "message": "must have an item"}]}});
    let problems = placed(problems_of(&answer(body)), text);
    assert_eq!(problems.len(), 1);
    assert_eq!(
        (problems[0].line, problems[0].field.as_str()),
        (Some(3), "spec.hosts")
    );
}

#[test]
fn strict_decoding_errors_become_problems() {
    let body = json!({"message": "strict decoding error: unknown field \"spec.host\", unknown field \"spec.http[0].x\""});
    let problems = problems_of(&answer(body));
    let fields: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
    assert_eq!(fields, ["spec.host", "spec.http[0].x"]);
}

#[test]
fn an_answer_without_causes_is_one_problem() {
    let problems = problems_of(&answer(json!({"message": "hosts must not be empty"})));
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "hosts must not be empty");
}

#[test]
fn no_segment_changes_the_path() {
    for (segment, expected) in [
        ("reviews", "reviews"),
        ("a.b", "a.b"),
        ("..", "%2E%2E"),
        ("a/b", "a%2Fb"),
        ("a?b", "a%3Fb"),
        ("a%2f", "a%252f"),
    ] {
        assert_eq!(escape(segment), expected);
    }
}

#[test]
fn a_missing_right_is_named() {
    let name = ObjectName {
        kind: "VirtualService".into(),
        namespace: "shop".into(),
        name: "reviews".into(),
    };
    let failure = refused(
        &Answer {
            status: StatusCode::FORBIDDEN,
            body: json!({}),
        },
        "update",
        &name,
    );
    let remedy = failure.remedy.unwrap_or_default();
    assert!(
        remedy.contains("`update` on virtualservices.networking.istio.io") && remedy.contains("shop"),
        "{remedy}"
    );
}
