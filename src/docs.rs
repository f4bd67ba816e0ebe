//! The scaffold that examples of the documentation share, so that each shows only what it is about.

/// An example about `run`, a run of the array `squares` (of 0 to 4) and of the single task `nine`.
macro_rules! squares {
    ($($line:literal),* $(,)?) => {
        concat!(
            "```\n",
            "# #[dagrun::task]\n",
            "# fn squared(x: u64) -> u64 {\n",
            "#     x * x\n",
            "# }\n",
            "# let cluster = dagrun::Cluster::builder().slots(2).start()?;\n",
            "# let dag = dagrun::Dag::new(\"squares\");\n",
            "# let squares = dag.map(squared, 0..5);\n",
            "# let nine = dag.task(squared, (3,));\n",
            "# let run = cluster.submit(&dag).wait()?;\n",
            $($line, "\n",)*
            "# Ok::<(), dagrun::Error>(())\n",
            "```",
        )
    };
}

/// An example with `cluster`, its `client`, and a function `double`.
macro_rules! double {
    ($($line:literal),* $(,)?) => {
        concat!(
            "```\n",
            "# #[dagrun::task]\n",
            "# fn double(x: u64) -> u64 {\n",
            "#     2 * x\n",
            "# }\n",
            "# let cluster = dagrun::Cluster::builder().slots(1).start()?;\n",
            "# let client = cluster.client();\n",
            $($line, "\n",)*
            "# Ok::<(), dagrun::Error>(())\n",
            "```",
        )
    };
}

pub(crate) use {double, squares};
