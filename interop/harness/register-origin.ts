/**
 * Registers an origin as SRS does with its heartbeat.
 *
 * @param listens what it offers, by the names of the heartbeat: `rtmp`, `http`, `api`, `srt`, `rtc`
 */
export async function registerOrigin(
  registrationUrl: string,
  name: string,
  listens: Readonly<Record<string, readonly string[]>>,
): Promise<void> {
  const response = await fetch(registrationUrl, {
    method: 'POST',
    // SRS always has RTMP, and is refused without it.
    body: JSON.stringify({ ip: '127.0.0.1', server: name, service: name, pid: '1', rtmp: ['1'], ...listens }),
  })
  if (!response.ok) throw new Error(`registration: ${response.status} ${await response.text()}`)
}
