//! Greedy generation and the open-type NER predictor.
