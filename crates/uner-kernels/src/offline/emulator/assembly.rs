//! Translates inline PTX to calls of `cuda.h`.

/// Turns each `asm` statement into a call.
pub(super) fn replace_assembly(source: &str) -> String {
    let mut replaced = String::new();
    let mut remaining = source;
    while let Some(at) = remaining.find("asm ") {
        let (before, statement) = remaining.split_at(at);
        let end = closing(statement, statement.find('(').expect("a statement has operands"));
        let mut quoted = statement[..end].splitn(3, '"');
        let (template, operands) =
            (quoted.nth(1).expect("a template"), quoted.next().expect("its end"));
        replaced += before;
        let template = template.replace("\\n", " ");
        // A product has several statements; each other `asm` becomes one call.
        let translated = if template.contains("wgmma.") {
            statements_of(&template, operands)
        } else {
            call(&template, operands)
        };
        replaced += &translated;
        remaining = &statement[end + 1..];
    }
    replaced + remaining
}

/// The position of the parenthesis that closes the one at `open`.
fn closing(text: &str, open: usize) -> usize {
    let (mut depth, mut quoted) = (0, false);
    let end = text.bytes().enumerate().skip(open).find(|(_, byte)| {
        match byte {
            b'"' => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth -= 1,
            _ => {}
        }
        depth == 0
    });
    end.expect("parentheses are closed").0
}

/// The C++ expressions in `: "=f"(a), "=f"(b) : "r"(c) : "memory"`, in order.
fn expressions(operands: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut remaining = operands;
    while let Some(at) = remaining.find("\"(") {
        let end = closing(remaining, at + 1);
        found.push(&remaining[at + 2..end]);
        remaining = &remaining[end + 1..];
    }
    found
}

/// The call of `cuda.h` for an instruction.
fn call(template: &str, operands: &str) -> String {
    let numbers: Vec<usize> = template
        .split('%')
        .skip(1)
        .filter_map(|after| after.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .collect();
    let in_order = numbers.iter().copied().eq(0..numbers.len());
    assert!(
        in_order || template.contains("cvta"),
        "`{template}` does not take its operands in order"
    );
    let offset = template
        .split_once(" + ")
        .map_or("0", |(_, after)| after.split(']').next().expect("an address"));
    // The text behind the nth comma.
    let constant =
        |n: usize| template.split(", ").nth(n).expect("a constant").trim_end_matches(';');
    let word = template.split([' ', ';']).next().unwrap_or_default();
    let (name, leading) = match word {
        "{" if template.contains("cvta.to.shared.u64") => ("cvta", vec![]),
        "{" if template.contains("mbarrier.try_wait.parity") => ("mbarrier_wait", vec![]),
        "{" if template.contains("ld.acquire.gpu.global.u32") => ("await_word", vec!["true"]),
        "{" if template.contains("ld.relaxed.gpu.global.u32") => ("await_word", vec!["false"]),
        "red.release.gpu.global.max.u32" => ("raise_word", vec![]),
        "atom.relaxed.gpu.global.add.u32" => ("count_up", vec![]),
        "cp.async.bulk.global.shared::cta.bulk_group" => ("bulk_write", vec!["false", constant(2)]),
        "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32" => {
            ("bulk_write", vec!["true", constant(2)])
        }
        "cp.async.bulk.commit_group" => ("bulk_commit", vec![]),
        "cp.async.bulk.wait_group.read" if template.contains(" 0;") => ("bulk_wait", vec!["true"]),
        "cp.async.bulk.wait_group" if template.contains(" 0;") => ("bulk_wait", vec!["false"]),
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32" => ("mma", vec![]),
        "ldmatrix.sync.aligned.m8n8.x4.shared.b16" => ("ldmatrix", vec!["false", offset]),
        "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16" => ("ldmatrix", vec!["true", offset]),
        "stmatrix.sync.aligned.m8n8.x4.shared.b16" => ("stmatrix", vec!["false", offset]),
        "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16" => ("stmatrix", vec!["true", offset]),
        "cp.async.cg.shared.global" => ("copy_async", vec!["16", offset]),
        "cp.async.ca.shared.global" => ("copy_async", vec!["4", offset]),
        "cp.async.commit_group" => ("commit", vec![]),
        "cp.async.wait_group" if template.contains(" 0") => ("wait", vec![]),
        "cp.async.mbarrier.arrive.noinc.shared::cta.b64" => {
            ("mbarrier_arrive_behind_copies", vec![])
        }
        "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes" => {
            ("tensor_copy", vec![])
        }
        "mbarrier.init.shared::cta.b64" => ("mbarrier_init", vec![constant(1)]),
        "mbarrier.arrive.shared::cta.b64" => ("mbarrier_arrive", vec!["0"]),
        "mbarrier.arrive.expect_tx.shared::cta.b64" => ("mbarrier_arrive", vec![constant(2)]),
        "fence.proxy.async.shared::cta" => ("proxy_fence", vec![]),
        "fence.proxy.async.global" => ("global_proxy_fence", vec![]),
        // Not needed here: registers stay, and all threads see a new barrier at once.
        "setmaxnreg.inc.sync.aligned.u32"
        | "setmaxnreg.dec.sync.aligned.u32"
        | "fence.mbarrier_init.release.cluster" => return String::new(),
        "mov.u32" if template.contains("%tid.x") => ("unit", vec![]),
        "bar.sync" => ("named_barrier", vec![constant(1), "true"]),
        "bar.arrive" => ("named_barrier", vec![constant(1), "false"]),
        "bar.warp.sync" => ("warp_barrier", vec![]),
        "ld.shared.v2.f32" | "ld.shared.v2.s32" => ("load_pair", vec![offset]),
        "st.shared.v2.s32" => ("store_pair", vec![offset]),
        "st.shared.v4.f32" => ("store_quad", vec![offset]),
        "cvt.rn.bf16x2.f32" => ("pack", vec![]),
        "ex2.approx.ftz.f32" => ("ex2", vec![]),
        "sqrt.approx.ftz.f32" => ("root", vec![]),
        "rcp.approx.ftz.f32" => ("reciprocal", vec![]),
        "shfl.sync.idx.b32" => ("shuffle", vec![constant(2)]),
        "atom.relaxed.gpu.global.inc.u32" if template.contains("], 0x7fffffff;") => {
            ("count_up", vec![])
        }
        "shfl.sync.bfly.b32" => ("shuffle_xor", vec![constant(2)]),
        _ => panic!("`{template}` is not emulated"),
    };
    let arguments: Vec<_> = leading.into_iter().chain(expressions(operands)).collect();
    format!("emulator::{name}({})", arguments.join(", "))
}

/// Translates the statements around products of warp groups, each to one of C++.
fn statements_of(template: &str, operands: &str) -> String {
    let operands = expressions(operands);
    let text = template.trim().trim_start_matches('{').trim_end_matches('}');
    let text = text.split("/*").next().unwrap_or_default();
    let statements = text.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    let translated: Vec<String> =
        statements.map(|statement| translate_statement(statement, &operands)).collect();
    format!("{{ {} }}", translated.join(" "))
}

fn translate_statement(statement: &str, operands: &[&str]) -> String {
    let (name, operand_text) = statement.split_once(' ').unwrap_or((statement, ""));
    let arguments = arguments(operand_text, operands);
    let argument = |n: usize| arguments[n][0].as_str();
    match name {
        ".reg" => {
            let (of, names) = operand_text.split_once(' ').expect("registers have names");
            let declared = match of {
                ".pred" => "bool",
                ".b32" => "uint32_t",
                ".b64" => "uint64_t",
                _ => panic!("registers of {of} are not emulated"),
            };
            format!("{declared} {names};")
        }
        "add.s32" => format!("{} = {} + {};", argument(0), argument(1), argument(2)),
        "setp.ne.b32" => format!("{} = {} != {};", argument(0), argument(1), argument(2)),
        "mov.b32" => format!("{} = {};", argument(0), argument(1)),
        "mov.b64" => {
            format!(
                "{} = uint64_t({}) << 32 | uint32_t({});",
                argument(0),
                arguments[1][1],
                arguments[1][0]
            )
        }
        "mov.f32" => format!("emulator::move_register({}, {});", argument(0), argument(1)),
        "wgmma.fence.sync.aligned" => "emulator_wgmma_fence();".to_owned(),
        "wgmma.commit_group.sync.aligned" => "emulator_wgmma_commit();".to_owned(),
        "wgmma.wait_group.sync.aligned" => format!("emulator_wgmma_wait({});", argument(0)),
        _ => product(name, &arguments),
    }
}

/// The arguments of a statement, split at commas: one operand each, or several in braces.
fn arguments(text: &str, operands: &[&str]) -> Vec<Vec<String>> {
    let value = |name: &str| match name.trim().strip_prefix('%') {
        Some(number) => {
            operands[number.parse::<usize>().expect("operands have numbers")].to_owned()
        }
        None => name.trim().to_owned(),
    };
    let mut found = Vec::new();
    let mut remaining = text.trim();
    while !remaining.is_empty() {
        let (inner, behind) = match remaining.strip_prefix('{') {
            Some(list) => list.split_once('}').expect("braces are closed"),
            None => remaining.split_at(remaining.find(',').unwrap_or(remaining.len())),
        };
        found.push(inner.split(',').map(value).collect());
        remaining = behind.trim_start_matches(',').trim();
    }
    found
}

/// Translates `wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {..}, a, b, p, 1, 1, 0, 0`. If
/// A lies in registers, it has no layout.
fn product(name: &str, arguments: &[Vec<String>]) -> String {
    let parts: Vec<&str> = name.split('.').collect();
    let ["wgmma", "mma_async", "sync", "aligned", shape, "f32", "bf16", "bf16"] = parts[..] else {
        panic!("`{name}` is not emulated");
    };
    let columns: usize = shape
        .strip_prefix("m64n")
        .and_then(|shape| shape.strip_suffix("k16")?.parse().ok())
        .unwrap_or_else(|| panic!("`{name}` is not emulated"));
    let [d, rows, tile, adds, left, right, layouts @ ..] = arguments else {
        panic!("`{name}` lacks operands")
    };
    assert!(
        d.len() * 2 == columns && left[0] == "1" && right[0] == "1",
        "`{name}` is not emulated"
    );
    let (a_down, b_down) = match layouts {
        [of_b] => ("0", of_b[0].as_str()),
        [of_a, of_b] => (of_a[0].as_str(), of_b[0].as_str()),
        _ => panic!("`{name}` has {} layouts", layouts.len()),
    };
    format!(
        "emulator::wgmma({a_down}, {b_down}, {}, {}, {}, {});",
        rows.join(", "),
        tile[0],
        adds[0],
        d.join(", ")
    )
}
