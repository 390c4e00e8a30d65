import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Ports that were free a moment ago, for UDP and for TCP. */
export async function freePorts(count: number): Promise<number[]> {
  const ports = await Promise.all(Array.from({ length: count }, () => holdPort()))
  await Promise.all(ports.map((held) => held.release()))
  return ports.map(({ port }) => port)
}

interface HeldPort {
  readonly port: number
  release(): Promise<void>
}

/** The system chooses one for UDP, of which the sessions take thousands; another is tried if TCP has it. */
async function holdPort(): Promise<HeldPort> {
  for (;;) {
    const socket = createSocket('udp4').bind(0, '127.0.0.1')
    await once(socket, 'listening')
    const { port } = socket.address()
    const server = createServer().listen(port, '127.0.0.1')
    const isListening = await once(server, 'listening').then(
      () => true,
      () => false,
    )
    const release = async (): Promise<void> => {
      const closed = [once(socket, 'close'), ...(isListening ? [once(server, 'close')] : [])]
      socket.close()
      if (isListening) server.close()
      await Promise.all(closed)
    }
    if (isListening) return { port, release }
    await release()
  }
}
