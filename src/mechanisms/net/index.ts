/**
 * TCP and TLS for the services: listeners with caps, behind balancers or not, the texts that name them, certificates,
 * and the pipe that joins two sockets once their dialogue is over.
 */
export { AddressRanges } from './address-ranges.ts'
export {
  connectFromDescriptor,
  type DescriptorPeer,
  listenOnDescriptor,
} from './bound-socket.ts'
export { isCidr } from './cidr.ts'
export { CertificateFiles, type CertificateFilesOptions } from './certificate-files.ts'
export { type Certificate, tlsContextOptions } from './certificate.ts'
export type { CertificateSource, LeastTlsVersion } from './certificate-source.ts'
export { ConnectionCap, type ConnectionCapOptions } from './connection-cap.ts'
export { type ConnectionInfo, plainAddress } from './connection-info.ts'
export { type Dial, type DialOptions, dialTcp } from './dial.ts'
export { formatListenAddress, type ListenAddress, parseListenText } from './endpoint-text.ts'
export { type HttpClient, type HttpClientHeader, httpClientOf, type HttpClientOf } from './http-client.ts'
export { listenTcp } from './listen-tcp.ts'
export {
  type DialOptionsOf,
  dialOptionsOf,
  type DialTarget,
  originDial,
  type OriginTls,
} from './origin-dial.ts'
export { peekBytes, type PeekOptions } from './peek-bytes.ts'
export { type MakeTransform, type PipeEnd, type PipeTransform, type Sink, SocketPipe } from './pipe.ts'
export { certificateNames } from './server-contexts.ts'
export { type ServerSideOptions, secureServerSide } from './secure-server-side.ts'
export { selfMadeCertificate } from './self-made-certificate.ts'
export {
  httpAlpn,
  mediaPortProtocol,
  type SharedPortProtocol,
  sharedPortProtocol,
  turnAlpn,
} from './shared-port.ts'
export { type ListenerCounts, TcpListener, type TcpListenerOptions } from './tcp-listener.ts'
export type { TlsOptions } from './tls-handshakes.ts'
export { endpointAddresses, hostOf } from './wildcard.ts'
