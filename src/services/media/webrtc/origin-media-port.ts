import { type SessionDescription, udpHostCandidates } from '../../../protocols/sdp/index.ts'

/**
 * The UDP port of the origin that takes a session's media. The answer says which of the registered ports it is (its
 * first UDP host candidate); a registered 0 stands for whatever the answer says. An answer that names none of them
 * sits behind a port mapping, or was told a public port: then the first registered one is where it listens.
 * `undefined` when neither says a port.
 */
export function originMediaPort(
  answer: SessionDescription,
  registered: readonly number[],
): number | undefined {
  const named = udpHostCandidates(answer).find(({ port }) => port !== 0)?.port
  if (named !== undefined && (registered.includes(named) || registered.includes(0))) return named
  return registered.find((port) => port !== 0)
}
