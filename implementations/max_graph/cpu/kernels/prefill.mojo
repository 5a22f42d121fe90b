"""The operation that feeds a prompt, and the scores of chosen heads where they are wanted."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv
from .amx import close_tiles, open_tiles
from .decode import Given, integers, steps_of
from .note_block import MutableTensor
from .prompt import Prompt
from .prompt_room import Own, Shared, Sizes, Wanted, n_together_of
from .row_block import Scratch
from .team import N_COUNTERS, Integers, Member
from .threads import allowed
from .tile import F32, PANEL, Floats, floats


@extensibility.register("whisper_prompt")
struct PromptOperation:
    @staticmethod
    def execute[
        target: StaticString, n_head: Int, n_audio_ctx: Int, audio_type: DType, layer_type: DType
    ](
        logits: OutputTensor[dtype=F32, rank=2, ...],
        table: MutableTensor[dtype=DType.int64, rank=2, ...],
        scores: MutableTensor[dtype=F32, rank=3, ...],
        tokens: InputTensor[dtype=DType.int32, rank=1, ...],
        wanted: InputTensor[dtype=DType.int32, rank=1, ...],
        heads: InputTensor[dtype=DType.int32, rank=2, ...],
        embedding: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        positional: InputTensor[dtype=F32, rank=2, ...],
        ln_weight: InputTensor[dtype=F32, rank=1, ...],
        ln_bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Logits after the wanted ones of a text's tokens, from its beginning."""
        var n_rows = tokens.dim_size(0)
        var n_tasks = allowed(n_threads)
        var slots = List[Int32](length=n_rows * ceildiv(positional.dim_size(0), PANEL), fill=0)
        var n_wanted = wanted.dim_size(0)
        var chosen = List[Float32](unsafe_uninit_length=n_wanted * positional.dim_size(1))
        var last = Wanted(
            integers(wanted), n_wanted, rebind[Floats](chosen.unsafe_ptr()), floats(logits)
        )
        var steps = steps_of[layer_type, audio_type](
            table,
            rebind[Integers](slots.unsafe_ptr()),
            embedding,
            scales,
            positional,
            ln_weight,
            ln_bias,
            Given(logits.dim_size(1), n_head, n_audio_ctx, n_rows, True),
        )
        var sizes = Sizes[audio_type](
            n_rows,
            n_wanted,
            steps.n_state,
            steps.n_padded(),
            n_together_of[audio_type](n_rows, n_head, n_tasks),
            steps.audio(steps.block(0)),
        )
        var prompt = Prompt[layer_type, audio_type, embedding.dtype](
            steps,
            floats(scores),
            integers(heads),
            heads.dim_size(0),
            last,
            sizes,
            n_tasks,
        )
        var counters = List[Int32](length=prompt.n_counted() * N_COUNTERS, fill=0)
        var memory = Scratch(Shared[audio_type].n_bytes(sizes))
        var at = Shared[audio_type].within(memory, sizes)
        var counted = rebind[Integers](counters.unsafe_ptr())
        var fed = integers(tokens)

        def task(
            t: Int,
        ) {
            var prompt,
            var at,
            var n_tasks,
            var counted,
            var fed,
        }:
            open_tiles[audio_type]()
            var scratch = Scratch(Own[audio_type].n_bytes(prompt.sizes))
            var member = Member(counted, n_tasks, 0, 0)
            prompt.run(member, at, Own[audio_type].within(scratch, prompt.sizes), fed)
            close_tiles[audio_type]()
            _ = scratch^

        sync_parallelize(task, n_tasks)
        _ = slots^
        _ = counters^
        _ = memory^
        _ = chosen^
