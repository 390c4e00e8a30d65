/** How clients reach a listener. */
export type ClientTransport = 'udp' | 'tcp' | 'tls' | 'dtls'
