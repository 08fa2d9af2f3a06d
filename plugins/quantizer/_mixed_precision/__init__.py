"""The parts of the quantizer `mixed`: groups, sensitivity, trials, and the cheapest assignment.

grouping      nodes of the graph, by layer or block
levels        which level each group gets, and the quantised graph that follows
trial         a graph whose nodes have mixed levels, written and played without quantising again
sensitivity   each group alone at each level: the noise at the outputs
assignment    the order in which groups are lowered, and how far the limit allows it
"""
