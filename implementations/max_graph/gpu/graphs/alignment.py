"""Word timing of a batch of texts as one graph: decoder, matrix, path and probabilities.

Only the path and the probabilities leave the device.
"""

from max.dtype import DType
from max.graph import Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.gpu.graphs.alignment_ops import alignment_matrix, dtw, token_probs
from implementations.max_graph.gpu.graphs.decoder import TextDecoder
from implementations.max_graph.gpu.graphs.ops import MAX_SPLITS
from implementations.max_graph.graphs.aligned_text import N_TEXT_FIELDS


class AlignmentGraphs:
    """The decoder with the alignment of its tokens."""

    def __init__(self, decoder: TextDecoder) -> None:
        self.decoder = decoder

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Adds `align_texts` to a module.

        After the inputs of `alignment` come the texts [n_rows, N_TEXT_FIELDS], and the tokens
        [n_chosen] whose probabilities the logits of `rows` give.

        The results are the position at which each token begins, from <|notimestamps|> on,
        [n_rows, n_new], of which lines of the texts are filled, and probabilities [n_chosen].
        """
        decoder = self.decoder
        types = [
            *decoder.input_types(),
            *decoder.score_types(),
            TensorType(DType.int32, ["n_rows", N_TEXT_FIELDS], decoder.device),
            TensorType(DType.int32, ["n_chosen"], decoder.device),
        ]
        with Graph(
            "align_texts", input_types=types, module=module, kernel_library=kernels
        ) as graph:
            logits, queries = decoder.feed(graph.inputs, shared_splits=MAX_SPLITS)
            decoder.store_scores(graph.inputs, queries)
            texts, targets = graph.inputs[9].tensor, graph.inputs[10].tensor
            matrix = alignment_matrix(graph.inputs[7].buffer, texts)
            probabilities = token_probs(logits, targets, texts)
            graph.output(dtw(matrix, texts), probabilities)
