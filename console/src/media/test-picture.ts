import type { Source } from './source.ts'

const WIDTH = 1280
const HEIGHT = 720
const FRAME_RATE = 30
const BARS = ['#c8c8c8', '#c8c800', '#00c8c8', '#00c800', '#c800c8', '#c80000', '#0000c8']
const FONT = 'ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace'

/** A generated picture with colour bars, a clock and something that moves, and a soft tone that beeps every second. */
export function openTestPicture(): Source {
  const canvas = document.createElement('canvas')
  canvas.width = WIDTH
  canvas.height = HEIGHT
  const context = canvas.getContext('2d', { alpha: false })
  if (context === null) throw new Error('The browser gives no canvas to draw the test picture on.')
  let frame = 0
  const draw = (): void => drawFrame(context, frame++, new Date())
  draw()
  const ticker = new Worker(new URL('./ticker.worker.ts', import.meta.url), { type: 'module' })
  ticker.addEventListener('message', draw)
  const picture = canvas.captureStream(FRAME_RATE)
  const tone = openTone()
  return {
    media: new MediaStream([...picture.getTracks(), ...tone.media.getTracks()]),
    close: () => {
      ticker.terminate()
      tone.close()
      for (const track of picture.getTracks()) track.stop()
    },
  }
}

function drawFrame(context: CanvasRenderingContext2D, frame: number, now: Date): void {
  const barWidth = WIDTH / BARS.length
  for (const [index, colour] of BARS.entries()) {
    context.fillStyle = colour
    context.fillRect(index * barWidth, 0, barWidth + 1, HEIGHT * 0.7)
  }
  const ramp = context.createLinearGradient(0, 0, WIDTH, 0)
  ramp.addColorStop(0, '#000')
  ramp.addColorStop(1, '#fff')
  context.fillStyle = ramp
  context.fillRect(0, HEIGHT * 0.7, WIDTH, HEIGHT * 0.1)
  context.fillStyle = '#101418'
  context.fillRect(0, HEIGHT * 0.8, WIDTH, HEIGHT * 0.2)
  drawClock(context, frame, now)
  drawMotion(context, frame)
}

function drawClock(context: CanvasRenderingContext2D, frame: number, now: Date): void {
  const time = `${now.toTimeString().slice(0, 8)}.${String(now.getMilliseconds()).padStart(3, '0')}`
  context.fillStyle = 'rgba(16, 20, 24, 0.82)'
  context.beginPath()
  context.roundRect(WIDTH / 2 - 340, 170, 680, 160, 20)
  context.fill()
  context.fillStyle = '#fff'
  context.textAlign = 'center'
  context.textBaseline = 'middle'
  context.font = `600 84px ${FONT}`
  context.fillText(time, WIDTH / 2, 254)
  context.font = `400 30px ${FONT}`
  context.textAlign = 'left'
  context.fillText('sluice test picture', 40, HEIGHT * 0.9)
  context.textAlign = 'right'
  context.fillText(`frame ${frame}`, WIDTH - 40, HEIGHT * 0.9)
}

/** A disc that swings once in four seconds, and a hand that turns once a second. */
function drawMotion(context: CanvasRenderingContext2D, frame: number): void {
  const seconds = frame / FRAME_RATE
  const x = WIDTH / 2 + Math.sin((seconds * Math.PI) / 2) * (WIDTH / 2 - 80)
  context.fillStyle = '#fff'
  context.beginPath()
  context.arc(x, 440, 44, 0, 2 * Math.PI)
  context.fill()
  context.strokeStyle = '#0d7c86'
  context.lineWidth = 10
  context.lineCap = 'round'
  context.beginPath()
  context.moveTo(x, 440)
  context.lineTo(x + 34 * Math.sin(seconds * 2 * Math.PI), 440 - 34 * Math.cos(seconds * 2 * Math.PI))
  context.stroke()
}

function openTone(): Source {
  const audio = new AudioContext()
  const output = audio.createMediaStreamDestination()
  const oscillator = audio.createOscillator()
  const swell = audio.createOscillator()
  const depth = audio.createGain()
  const volume = audio.createGain()
  oscillator.frequency.value = 440
  // A square wave of 1 Hz opens and closes the volume.
  swell.type = 'square'
  swell.frequency.value = 1
  depth.gain.value = 0.04
  volume.gain.value = 0.05
  swell.connect(depth).connect(volume.gain)
  oscillator.connect(volume).connect(output)
  oscillator.start()
  swell.start()
  return { media: output.stream, close: () => void audio.close() }
}
