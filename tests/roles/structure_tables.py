"""What each parameter of the zoo's models does, written down by hand."""

Table = dict[str, str]


def under(folder: str, *tables: Table) -> Table:
    """The tables' entries, in a folder."""
    return {
        f"{folder}/{name}": roles for table in tables for name, roles in table.items()
    }


def dense(name: str, kernel: str = "", bias: str = "") -> Table:
    """A kernel and a bias; what else they do after the blank."""
    return {
        f"{name}/kernel": f"weight {kernel}".strip(),
        f"{name}/bias": f"bias {bias}".strip(),
    }


def norm(name: str) -> Table:
    return {f"{name}/scale": "norm_scale", f"{name}/bias": "norm_bias"}


HEAD = dense("head", "readout", "readout_bias")
ATTENTION = {
    **dense("query", "query"),
    **dense("key", "key"),
    **dense("value", "value"),
    **dense("out", "attention_output branch_end"),
}
MLP = {**dense("fc"), **dense("proj", "branch_end")}
BLOCK = {**norm("ln_1"), **under("attn", ATTENTION), **norm("ln_2"), **MLP}
DECODER_BLOCK = {
    **BLOCK,
    **under("cross", ATTENTION),
    **norm("ln_3"),
}
RESIDUAL = {
    "Conv_0/kernel": "weight",
    "Conv_1/kernel": "weight branch_end",
    **norm("BatchNorm_0"),
    **norm("BatchNorm_1"),
}
STAGE = {**dense("Conv_0"), **norm("GroupNorm_0"), **dense("Dense_0")}
GATES = {
    "hi/bias": "bias gate_bias",
    "hf/bias": "bias gate_bias forget_gate_bias",
    "hg/bias": "bias",
    "ho/bias": "bias gate_bias",
}

# Parts of a GPT that are the same in all of its blocks.
GPT_ENDS = {
    "wte/embedding": "embedding weight readout",
    "wpe/embedding": "position",
    **norm("ln_f"),
}

ROLES: dict[str, Table] = {
    "mlp": {
        **dense("Dense_0", "input"),
        **dense("Dense_1"),
        **dense("Dense_2", "readout", "readout_bias"),
    },
    "three_calls": {**dense("shared", "input"), **HEAD},
    "lora": {
        **under("Lora_1", dense("base", "input")),
        "Lora_1/down": "weight input",
        "Lora_1/up": "weight",
        **under("Lora_0", dense("base", "readout", "readout_bias")),
        "Lora_0/down": "weight",
        "Lora_0/up": "weight readout",
    },
    "heads": {
        **dense("q", "query input"),
        **dense("k", "key input"),
        **dense("v", "value input"),
        **dense("out", "attention_output readout", "readout_bias"),
    },
    "weight_norm": {
        **dense("Dense_0", "input"),
        "WeightNorm_0/Dense_0/kernel/scale": "gain",
        **dense("Dense_1", "readout", "readout_bias"),
    },
    "resnet": {
        "stem/kernel": "weight input",
        **norm("stem_norm"),
        **under("ResidualBlock_0", RESIDUAL),
        **under("ResidualBlock_1", RESIDUAL, {"proj/kernel": "weight"}),
        **under("ResidualBlock_2", RESIDUAL),
        **HEAD,
    },
    "separable": {
        **dense("grouped", "input"),
        **dense("depthwise"),
        **dense("pointwise", "readout", "readout_bias"),
    },
    "unet": {
        **dense("time", "input"),
        **under("down", STAGE, dense("Conv_0", "input")),
        **under("middle", STAGE),
        **dense("rise"),
        **under("up", STAGE),
        **dense("out", "readout", "readout_bias"),
    },
    "two_towers": {
        **dense("image_conv", "input"),
        **dense("image_out", "readout", "readout_bias"),
        **dense("vector_in", "input"),
        **dense("vector_out", "readout", "readout_bias"),
        "scale": "gain",
    },
    "gpt": {
        **GPT_ENDS,
        **under("block_0", BLOCK),
        **under("block_1", BLOCK),
        **under("block_2", BLOCK),
    },
    "gpt_scanned": {**GPT_ENDS, **under("blocks", BLOCK)},
    "encoder_decoder": {
        "embed/embedding": "embedding",
        **under("encoder", BLOCK),
        **under("decoder", DECODER_BLOCK),
        **norm("ln_f"),
        **HEAD,
    },
    "vit": {
        **dense("patches", "input"),
        "token": "token",
        "position": "position",
        **under("block", BLOCK),
        **norm("ln_f"),
        **HEAD,
    },
    "mixture_of_experts": {
        **dense("embed", "input"),
        **norm("ln"),
        **under("moe", dense("router", "router")),
        "moe/wi": "weight",
        "moe/wo": "weight branch_end",
        **HEAD,
    },
    "lstm": {
        **under("OptimizedLSTMCell_0", GATES),
        **{f"OptimizedLSTMCell_0/i{g}/kernel": "weight input" for g in "ifgo"},
        **{f"OptimizedLSTMCell_0/h{g}/kernel": "weight recurrent" for g in "ifgo"},
        **HEAD,
    },
    "state_space": {
        **dense("encoder", "input"),
        **norm("ln_0"),
        **norm("ln_1"),
        **{f"ssm_{i}/{n}": "weight" for i in range(2) for n in "bc"},
        **{f"ssm_{i}/{n}": "gain" for i in range(2) for n in ("d", "log_step")},
        # Together, and neither alone, they are the decay that multiplies the state.
        **{f"ssm_{i}/{n}": "" for i in range(2) for n in ("log_decay", "frequency")},
        **dense("mix_0", "branch_end"),
        **dense("mix_1", "branch_end"),
        **dense("decoder", "readout", "readout_bias"),
    },
    "graph_network": {
        **dense("edge_0", "input"),
        **dense("node_0", "branch_end"),
        **dense("edge_1"),
        **dense("node_1", "branch_end"),
        **dense("readout", "readout", "readout_bias"),
    },
    "while_loop": {
        **dense("enter", "input"),
        "kernel": "weight recurrent",
        **dense("leave", "readout", "readout_bias"),
    },
    "nnx_mlp": {
        **dense("first", "input"),
        **norm("norm"),
        **dense("second"),
        **HEAD,
    },
    "nnx_gru": {
        "rnn/cell/dense_i/kernel": "weight input",
        "rnn/cell/dense_i/bias": "bias gate_bias",
        "rnn/cell/dense_h/kernel": "weight recurrent",
        **HEAD,
    },
    "nnx_scanned": {
        "embed/embedding": "embedding",
        **under("blocks", BLOCK),
        **norm("ln_f"),
        **HEAD,
    },
    "equinox": {
        "layers/0/weight": "weight input",
        "layers/0/bias": "bias",
        "layers/1/weight": "weight",
        "layers/1/bias": "bias",
        "layers/2/weight": "weight readout",
        "layers/2/bias": "bias readout_bias",
    },
    "plain_function": {
        "w1": "weight input",
        "b1": "bias",
        "w2": "weight readout",
        "b2": "bias readout_bias",
    },
}

# For each model, its branches in the order of execution: the weight layers in each,
# those that end it behind the bar.
BRANCHES: dict[str, list[str]] = {
    "mlp": [],
    "lora": [],
    "unet": [],
    "lstm": [],
    "nnx_gru": [],
    "fori_loop": [],
    "state_space": ["ssm_0/b ssm_0/c mix_0 | mix_0", "ssm_1/b ssm_1/c mix_1 | mix_1"],
    "mixture_of_experts": ["moe/router moe/wi moe/wo | moe/wo"],
    "resnet": [
        f"ResidualBlock_{i}/Conv_0 ResidualBlock_{i}/Conv_1 | ResidualBlock_{i}/Conv_1"
        for i in range(3)
    ],
    "gpt": [
        branch
        for block in ("block_0", "block_1", "block_2")
        for branch in (
            f"{block}/attn/query {block}/attn/key {block}/attn/value {block}/attn/out "
            f"| {block}/attn/out",
            f"{block}/fc {block}/proj | {block}/proj",
        )
    ],
}
