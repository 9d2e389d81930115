"""The model that is to be trained: the base, or what another run made of it, with its adapter and its tokenizer."""

from __future__ import annotations

from typing import Any

from twinctl.config.train import TrainRecipe
from twinctl.engine.models import load_adapter_weights, load_model, set_chat_template, stop_at
from twinctl.engine.training_inputs import TrainInputs
from twinctl.planning.memory import Choice


def load_to_train(unsloth: Any, recipe: TrainRecipe, split: Choice, inputs: TrainInputs) -> tuple[Any, Any]:
    """(model, tokenizer), which carry the tokens' template and stop token; nothing but what is trained has gradients.

    Raises EngineError without memory, or when the parent's adapter has another shape.
    """
    parent, info = inputs.parent, inputs.info
    is_full = recipe.method == "full"
    smaller = "a smaller model" if recipe.method == "qlora" else "--method qlora, or a smaller model"
    model, tokenizer = load_model(
        unsloth,
        parent if parent and is_full else inputs.base,
        max_length=info.max_length,
        dtype=recipe.dtype,
        method=recipe.method,
        seed=recipe.seed,
        checkpointing=split.checkpointing,
        hint=f"use {smaller}",
    )
    if not is_full:
        model = unsloth.FastLanguageModel.get_peft_model(
            model,
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            bias=recipe.bias,
            target_modules=list(recipe.target_modules),
            use_rslora=recipe.rslora,
            use_dora=recipe.dora,
            use_gradient_checkpointing="unsloth" if split.checkpointing else False,
            random_state=recipe.seed,
            max_seq_length=info.max_length,
        )
        if parent:
            load_adapter_weights(model, parent)
    set_chat_template(tokenizer, info.template, info.eos)
    stop_at(model.generation_config, tokenizer.eos_token_id)
    return model, tokenizer
