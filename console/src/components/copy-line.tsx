import { useSignal } from '@preact/signals'
import { useRef } from 'preact/hooks'

interface Props {
  readonly title: string
  readonly text: string
}

/** A line of text with a button that copies it. */
export function CopyLine({ title, text }: Props) {
  const code = useRef<HTMLElement>(null)
  const isCopied = useSignal(false)
  const copy = async (): Promise<void> => {
    isCopied.value = await copyText(text, code.current)
    setTimeout(() => {
      isCopied.value = false
    }, 1_500)
  }
  return (
    <figure class="copy">
      <figcaption>{title}</figcaption>
      <code ref={code}>{text}</code>
      <button type="button" class="small" onClick={() => void copy()} aria-label={`Copy: ${title}`}>
        {isCopied.value ? 'Copied' : 'Copy'}
      </button>
    </figure>
  )
}

/** Pages that came neither over TLS nor from this machine have no clipboard; there the text is selected instead. */
async function copyText(text: string, element: HTMLElement | null): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    if (element !== null) getSelection()?.selectAllChildren(element)
    return false
  }
}
