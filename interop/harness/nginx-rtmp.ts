import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { freePorts } from '../../src/foundation/free-port.testkit.ts'
import { filesBlock, startNginx } from './nginx.ts'
import type { Program } from './program.ts'

/** An nginx with the RTMP module: one server with the live application `live`, and what is live there as HLS at `/hls/{stream}.m3u8`. */
export interface NginxRtmp {
  readonly port: number
  readonly httpPort: number
  readonly program: Program
  /** Runs it again after its end, at the same ports and with the same files. */
  again(): Promise<NginxRtmp>
}

/** @param listenOptions As `proxy_protocol`: what stands behind the address of its `listen` for RTMP. */
export async function startNginxRtmp(folder: string, name: string, listenOptions = ''): Promise<NginxRtmp> {
  const home = join(folder, name)
  mkdirSync(join(home, 'hls'), { recursive: true })
  const [port = 0, httpPort = 0] = await freePorts(2)
  const blocks = `rtmp {
  access_log off;
  server {
    listen 127.0.0.1:${port} ${listenOptions};
    application live {
      live on;
      hls on;
      hls_path ${home}/hls;
      hls_fragment 1s;
      hls_playlist_length 10s;
      hls_continuous on;
    }
  }
}
${filesBlock(home, home, httpPort)}`
  const again = async (): Promise<NginxRtmp> => {
    const program = await startNginx({ home, blocks, ports: [port, httpPort] })
    return { port, httpPort, program, again }
  }
  return again()
}

/** Its entry in `[[origins]]`. */
export function nginxRtmpOrigin(name: string, { port, httpPort }: NginxRtmp): object {
  return {
    name,
    kind: 'nginx-rtmp',
    host: '127.0.0.1',
    urls: {
      rtmp: `rtmp://HOST:${port}/{app}/{stream}`,
      hls: `http://HOST:${httpPort}/hls/{stream}.m3u8`,
    },
  }
}
