import { Program } from '../harness/program.ts'
import type { TurnServerUnderTest, TurnTransport } from './turn-server.ts'

/**
 * What `turnutils_uclient` counted. One packet that is asked for is one that each of its sessions sends: it has two
 * (RTP and RTCP), one with `-c`, `-Z` or `-T`, and twice as many with `-y` or `-T`.
 */
export interface UclientReport {
  readonly sent: number
  readonly received: number
  readonly sentBytes: number
  readonly receivedBytes: number
  readonly lost: number
  /** How often the server answered with an error, such as `error 400 (Bad Request)`; challenges do not count. */
  readonly errors: readonly string[]
}

export interface UclientOptions {
  /** @defaultValue udp */
  readonly transport?: TurnTransport
  /** Over IPv6, which is for UDP only. @defaultValue false */
  readonly ipv6?: boolean
  /** How many packets each of its sessions sends, one in 20 ms. @defaultValue 10 */
  readonly packets?: number
  /** Flags of the mode, see below. */
  readonly flags?: readonly string[]
  /** @defaultValue 25 s, which is more than the slowest mode takes */
  readonly deadlineMs?: number
}

/**
 * Runs `turnutils_uclient` (coturn 4.6.1) once, to its end. Its flags, as its sources have them:
 *
 *     -e A -r P   sends to peer A, port P, and for RTCP P + 1, which must echo; asks for an even port with the next one
 *                 reserved (EVEN-PORT), and takes that by its RESERVATION-TOKEN
 *     -y          no peer: allocations send to each other, relay to relay, on the server's own addresses
 *     -c          no RTCP: one session, EVEN-PORT only by chance
 *     (none)      data in channels, of random numbers between 0x4000 and 0x7FFE; each is bound twice, to see
 *     -s          data in Send and Data indications
 *     -t          the server over TCP; -t -S over TLS, -S alone over DTLS. It checks no certificate, and tries TLS versions that
 *                 are refused before one that is not. What comes in one TLS record it takes for one message and loses
 *                 the others; with 100 ms between packets (-z) they do not meet, which 20 ms leave to chance
 *     -T          TCP allocations (RFC 6062): implies -t, -y, -c, -s; each connects to the other's relayed address
 *     -P          the same, but a plain TCP peer connects in; over TCP only. The tool takes what that peer receives
 *                 for STUN, calls it unknown and counts it as lost: half of what is sent arrives, and it ends after 15 s
 *     -M          mobility (RFC 8016): after Allocate it moves to another socket, and there sends one Refresh twice and
 *                 wants two successes. It takes a ticket for text that ends with its first NUL. Over TCP coturn 4.6 itself
 *                 answers only once; over TLS the tool now and then frees its old connection twice and ends
 *     -Z          an IPv4 and an IPv6 relay in one allocation; implies -c. ADDITIONAL-ADDRESS-FAMILY has its number of
 *                 before RFC 8656, 0x8032. Refreshes name a family by chance: 443 if there is only one
 *     -x, -X      asks for an IPv6, an IPv4 relay by REQUESTED-ADDRESS-FAMILY
 *     -g          DONT-FRAGMENT in Allocate and in Send
 *     -D          pads ChannelData also over UDP
 *     -G          up to 25 further channels and permissions, for addresses that it sends nothing to; errors are fine
 *     -J          OAuth (RFC 7635), if the challenge has a THIRD-PARTY-AUTHORIZATION; each Allocate and Refresh has a new
 *                 token under one of three keys by chance, so the USERNAME, which is the key's id, changes
 *     -W S        a time-limited user with the secret S
 *     -n, -l, -m  packets per session, bytes per packet, sessions
 *     -N, -R, -O  attacks; they end with an error or not at all
 *
 * Sessions start to send after 1 to 6 seconds, by chance but alike in each run, so a run takes 2 to 8 s, nearly all of it idle.
 * Its exit code tells of the set-up only: 255 when that failed, and 0 whatever was lost. Success is in the last lines:
 * `tot_send_msgs=N, tot_recv_msgs=N` and `Total lost packets 0`. Each run leaves an allocation behind over UDP: the
 * probe for load balancing (300) with which it begins is never released.
 *
 * @throws Error with its output when it fails, is not done in time, or says nothing of packets
 */
export async function runUclient(
  server: TurnServerUnderTest,
  options: UclientOptions = {},
): Promise<UclientReport> {
  const { transport = 'udp', ipv6 = false, packets = 10, flags = [], deadlineMs = 25_000 } = options
  const port = ipv6 ? server.udp6Port : server.ports[transport]
  const args = [
    ...['-p', String(port), '-n', String(packets)],
    ...usersOf(server),
    ...{ udp: [], tcp: ['-t'], tls: ['-t', '-S'] }[transport],
    ...flags,
    ipv6 ? '::1' : '127.0.0.1',
  ]
  const program = new Program('turnutils_uclient', args)
  const timer = setTimeout(() => program.kill('SIGKILL'), deadlineMs)
  const { code, signal } = await program.ended
  clearTimeout(timer)
  const report = code === 0 ? reportOf(program.output) : undefined
  if (report !== undefined) return report
  throw new Error(`turnutils_uclient ${args.join(' ')} ended with ${signal ?? code}:\n${program.output}`)
}

function usersOf({ credentials, username, password, secret }: TurnServerUnderTest): readonly string[] {
  if (credentials === 'secret') return ['-u', username, '-W', secret]
  // With OAuth the name is not used; the tool wants one.
  return ['-u', username, '-w', password, ...(credentials === 'oauth' ? ['-J'] : [])]
}

function reportOf(output: string): UclientReport | undefined {
  // The same words are in the lines of progress, with `msz=` before them.
  const packets = /start_mclient: tot_send_msgs=(\d+), tot_recv_msgs=(\d+)/.exec(output)
  const bytes = /start_mclient: tot_send_bytes ~ (\d+), tot_recv_bytes ~ (\d+)/.exec(output)
  const lost = /Total lost packets (\d+)/.exec(output)
  if (packets === null || bytes === null || lost === null) return undefined
  return {
    sent: Number(packets[1]),
    received: Number(packets[2]),
    sentBytes: Number(bytes[1]),
    receivedBytes: Number(bytes[2]),
    lost: Number(lost[1]),
    errors: [...output.matchAll(/error \d{3}.*/g)].map(([line]) => line),
  }
}
