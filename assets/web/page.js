'use strict';

const LANGUAGES = ['en', 'zh'];
const TEXTS = {
  code: ['en', 'zh-CN'],
  otherCode: ['zh-CN', 'en'],
  otherLanguage: ['中文', 'English'],
  comma: [', ', '、'],
  pictureTitle: ['Image Classifier', '图片分类器'],
  flowerTitle: ['Flower Classifier', '花卉分类器'],
  pictureSubtitle: ['Choose a picture, and AI will tell you what it shows', '选择一张图片，AI将识别图中的内容'],
  flowerSubtitle: ['Choose a picture of a flower, and AI will tell you what kind it is', '选择一张花卉图片，AI将识别它的种类'],
  private: ['Pictures stay on this device. The model runs in your browser.', '图片不会离开此设备，模型在浏览器中运行。'],
  invitation: ['Choose a picture', '选择图片'],
  another: ['Choose another picture', '选择其他图片'],
  hint: ['or drop it here, or paste it with Ctrl+V or ⌘V', '也可拖放到此处，或用 Ctrl+V、⌘V 粘贴'],
  camera: ['Take a photo', '拍照'],
  preview: ['Preview of the chosen picture', '所选图片的预览'],
  noPreview: ['This browser cannot show a preview of this file.', '浏览器无法预览此文件。'],
  pictureIdentify: ['Identify', '识别图片'],
  flowerIdentify: ['Identify', '识别花卉'],
  loading: ['Loading the model...', '正在加载模型...'],
  waiting: ['Identifying...', '识别中...'],
  confidence: ['Confidence', '置信度'],
  top: ['Top {count} predictions', 'Top {count} 预测结果'],
  unsure: ['Not sure. The best guess:', '不太确定，最接近的是：'],
  unsureNote: ['The picture may be unclear, or show something the model was not trained on.', '图片可能不够清晰，或者不属于模型学过的种类。'],
  always: ['The model always picks one of its {count} classes, whatever the picture shows.', '无论图片内容是什么，模型总会从它的 {count} 个类别中选择一个。'],
  kinds: ['Show the classes', '查看全部类别'],
  empty: ['Please choose a picture', '请选择一张图片'],
  picture: ['This browser could not read the file as a picture. Try a JPEG or PNG picture.', '浏览器无法将此文件作为图片读取，请尝试 JPEG 或 PNG 图片。'],
  pixels: ['This browser does not let the page see the pixels of this picture.', '浏览器不允许页面读取此图片的像素。'],
  fileChanged: ['This file could not be read: it was changed or moved, or it is a folder. Please choose it again.', '无法读取此文件：它可能已被修改或移动，或者是文件夹。请重新选择。'],
  missing: ['The model could not be loaded. Is the server still running?', '无法加载模型，服务器是否仍在运行？'],
  model: ['This page cannot run the model.', '此页面无法运行该模型。'],
  runtime: ['This browser cannot run the model: it needs WebAssembly. A newer browser may help.', '浏览器不支持 WebAssembly，无法运行模型，请尝试较新的浏览器。'],
  other: ['Something unexpected went wrong.', '发生意外错误。'],
};
/** Failures whose text says all that there is to say. */
const PLAIN = ['empty', 'picture', 'fileChanged'];
const TOP = 5;

const camelCase = (id) => id.replace(/-(.)/g, (_, letter) => letter.toUpperCase());
const ui = Object.fromEntries([...document.querySelectorAll('[id]')].map((node) => [camelCase(node.id), node]));
const state = { language: 'en', subject: 'picture', classifier: null, picture: null, waiting: null, prediction: null, failure: null };
const { title, unsureBelow } = ui.page.dataset;
let loading = null;

const text = (key) => (TEXTS[key] ?? TEXTS.other)[LANGUAGES.indexOf(state.language)];
const percent = (share) => `${(100 * share).toFixed(1)}%`;
const fileSize = (bytes) => (bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
const filled = (key, count) => text(key).replace('{count}', count);

function chineseName(label) {
  const names = state.classifier?.names['zh-CN'] ?? {};
  return state.language === 'zh' && Object.hasOwn(names, label) ? names[label] : '';
}

const fullName = (label) => (chineseName(label) ? `${chineseName(label)} (${label})` : label);

function attempt(action) {
  // Storage may be forbidden.
  try { return action(); } catch { return null; }
}

// An unchanged live region must not be announced again.
const setText = (node, content) => { if (node.textContent !== content) node.textContent = content; };

function element(tag, className, ...content) {
  const node = Object.assign(document.createElement(tag), { className });
  node.append(...content);
  return node;
}

function preferredLanguage() {
  const wanted = [attempt(() => localStorage.getItem('flowers.language')) ?? '', ...navigator.languages];
  return wanted.map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => LANGUAGES.includes(tag)) ?? 'en';
}

/** `data-state` of the document: `loading`, `ready`, `failed` or `setup`. */
function enter(name) {
  document.documentElement.dataset.state = name;
  ui.page.hidden = name === 'setup';
  ui.setup.hidden = name !== 'setup';
}

function update(changes) {
  Object.assign(state, changes);
  const named = 'language' in changes || 'classifier' in changes;
  if ('language' in changes || 'subject' in changes) renderTexts();
  if (named) renderLabels();
  if (named || 'prediction' in changes) renderPrediction();
  for (const render of [renderPicture, renderWaiting, renderFailure]) render();
}

function renderTexts() {
  document.documentElement.lang = text('code');
  document.title = title || text(`${state.subject}Title`);
  setText(ui.title, document.title);
  setText(ui.subtitle, text(`${state.subject}Subtitle`));
  ui.language.lang = text('otherCode');
  ui.preview.alt = text('preview');
  for (const icon of document.querySelectorAll('.icon')) icon.setAttribute('href', `#${state.subject}`);
  for (const node of document.querySelectorAll('[data-text]')) setText(node, text(node.dataset.text));
}

function switchLanguage() {
  update({ language: state.language === 'zh' ? 'en' : 'zh' });
  attempt(() => localStorage.setItem('flowers.language', state.language));
}

function choose(picture) {
  if (!picture) return;
  URL.revokeObjectURL(ui.preview.src);
  ui.preview.src = URL.createObjectURL(picture);
  state.picture = picture;
  identify();
}

function showPreview({ type }) {
  [ui.preview.hidden, ui.noPreview.hidden] = [type === 'error', type === 'load'];
}

function renderPicture() {
  const { picture } = state;
  ui.placeholder.toggleAttribute('hidden', Boolean(picture));
  ui.caption.hidden = !picture;
  ui.hint.hidden = Boolean(picture);
  setText(ui.caption, picture ? `${picture.name} · ${fileSize(picture.size)}` : '');
  setText(ui.invitation, text(picture ? 'another' : 'invitation'));
}

function drag(event) {
  event.preventDefault();
  const leaves = event.type === 'dragleave' && !event.relatedTarget;
  ui.drop.classList.toggle('over', !leaves && event.type !== 'drop');
  if (event.type === 'drop') choose(event.dataTransfer?.files[0]);
}

function paste(event) {
  const picture = event.clipboardData?.files[0];
  if (!picture) return;
  event.preventDefault();
  choose(picture);
}

const painted = () => new Promise((resolve) => { setTimeout(resolve, 30); });

async function classified(picture) {
  const classifier = await loading;
  // The model runs on the page's own thread, which then paints nothing.
  await painted();
  try {
    return await classifier.classify(picture);
  } catch (error) {
    const readable = await picture.slice(0, 1).arrayBuffer().then(() => true, () => false);
    throw readable ? error : Object.assign(new Error(error.message), { kind: 'fileChanged' });
  }
}

async function identify() {
  const focused = document.activeElement;
  const waiting = state.picture && {};
  update({ prediction: null, failure: null, waiting });
  if (!waiting) return fail({ kind: 'empty' }, ui.file);
  const outcome = await classified(state.picture).catch((error) => error);
  if (state.waiting !== waiting) return;
  const failed = outcome instanceof Error;
  update({ waiting: null, prediction: failed ? null : outcome });
  // A button loses focus when it is disabled.
  if (document.activeElement === document.body) focused.focus({ preventScroll: true });
  if (failed) fail(outcome);
  else ui.answer.scrollIntoView({ block: 'nearest' });
}

function renderWaiting() {
  const { waiting, prediction, failure, classifier } = state;
  const busy = document.documentElement.dataset.state === 'loading' ? 'loading' : waiting && 'waiting';
  ui.identify.disabled = Boolean(busy);
  setText(ui.identify, text(busy || `${state.subject}Identify`));
  const chosen = prediction || failure || !classifier ? '' : ui.caption.textContent;
  setText(ui.progress, busy ? text(busy) : chosen);
}

function guessItem({ label, probability }) {
  const fill = element('div', 'fill');
  fill.style.width = `${100 * probability}%`;
  const raw = element('bdi', 'name', label);
  raw.translate = false;
  const share = Object.assign(element('data', 'share', percent(probability)), { value: probability });
  const name = element('span', '', element('span', 'zh', chineseName(label)), raw);
  return element('li', '', name, share, element('div', 'track', fill));
}

function renderPrediction() {
  const guesses = state.prediction?.slice(0, TOP) ?? [];
  const [best] = guesses;
  setText(ui.class, best?.label ?? '');
  setText(ui.classZh, best ? chineseName(best.label) : '');
  setText(ui.confidence, best ? percent(best.probability) : '');
  ui.confidence.value = best?.probability ?? '';
  ui.top.replaceChildren(...guesses.map(guessItem));
  setText(ui.topTitle, filled('top', guesses.length));
  const unsure = best?.probability < Number(unsureBelow);
  ui.answer.classList.toggle('unsure', unsure);
  ui.unsure.hidden = ui.unsureNote.hidden = !unsure;
  ui.answer.hidden = !best;
}

function renderLabels() {
  const { classifier } = state;
  const labels = classifier?.labels ?? [];
  ui.footer.hidden = labels.length === 0;
  setText(ui.always, filled('always', labels.length));
  setText(ui.kinds, labels.map(fullName).join(text('comma')));
  setText(ui.runtime, classifier ? `ONNX Runtime Web ${classifier.runtime}` : '');
}

function fail({ kind, message }, field) {
  update({ failure: { kind, detail: message ?? '' } });
  field?.focus();
  ui.error.scrollIntoView({ block: 'nearest' });
}

function renderFailure() {
  const { failure } = state;
  ui.error.hidden = !failure;
  setText(ui.errorText, failure ? text(failure.kind) : '');
  const detail = PLAIN.includes(failure?.kind) ? '' : failure?.detail ?? '';
  setText(ui.errorDetail, detail);
  ui.errorDetail.hidden = !detail;
}

async function load() {
  const manifest = await fetch('model.json', { cache: 'no-cache' }).then((response) => response.json()).catch(() => null);
  update({ subject: manifest?.subject === 'flower' ? 'flower' : 'picture' });
  ui.page.hidden = false;
  const { Classifier } = await import('./classifier.js');
  return Classifier.load('./');
}

async function start() {
  ui.setup.hidden = true;
  if (location.protocol === 'file:') return enter('setup');
  ui.form.addEventListener('submit', (event) => { event.preventDefault(); identify(); });
  ui.language.addEventListener('click', switchLanguage);
  for (const input of [ui.file, ui.camera]) {
    input.addEventListener('change', () => choose(input.files[0]));
    // So that the same file can be chosen again after it changed.
    input.addEventListener('click', () => { input.value = ''; });
  }
  for (const type of ['load', 'error']) ui.preview.addEventListener(type, showPreview);
  for (const type of ['dragover', 'dragleave', 'drop']) document.addEventListener(type, drag, true);
  document.addEventListener('paste', paste);
  document.documentElement.dataset.state = 'loading';
  update({ language: preferredLanguage() });
  loading = load();
  try {
    const classifier = await loading;
    enter('ready');
    update({ classifier });
  } catch (error) {
    const installed = error.kind !== 'runtime' || typeof WebAssembly !== 'object';
    enter(installed ? 'failed' : 'setup');
    setText(ui.setupDetail, error.message);
    fail(error);
  }
}

start();
