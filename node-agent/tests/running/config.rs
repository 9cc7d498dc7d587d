//! The configurations of two nodes with a block each, and what else a test puts into them.

/// The node at 192.168.0.176, with more lines.
macro_rules! node1 {
    ($more:literal) => {
        concat!(
            "node: {name: node1, address: 192.168.0.176}\n",
            "pools:\n",
            "- {cidr: 172.16.0.0/16, encapsulation: None}\n",
            "blocks: [172.16.52.128/26]\n",
            $more
        )
    };
}

/// The node at 192.168.0.146, with more lines.
macro_rules! node2 {
    ($more:literal) => {
        concat!(
            "node: {name: node2, address: 192.168.0.146}\n",
            "pools:\n",
            "- {cidr: 172.16.0.0/16, encapsulation: None}\n",
            "blocks: [172.16.7.0/26]\n",
            $more
        )
    };
}

pub(crate) use {node1, node2};
