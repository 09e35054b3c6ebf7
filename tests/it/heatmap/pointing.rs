//! Whether a word's map points at the thing it names.

use prompt_to_prompt::heatmap::MapSpec;
use prompt_to_prompt::job::Job;
use prompt_to_prompt::model::ModelFolder;

use super::look;

/// Colours that none of the backgrounds has, as a pixel shows them.
type Shows = fn([u8; 3]) -> bool;
const COLOURS: [(&str, Shows); 2] = [
    ("red", |[r, g, b]| r > 140 && r / 2 > g.max(b) / 2 + 30),
    ("purple", |[r, g, b]| {
        b > 100 && r > 80 && g < 110 && b / 2 > g / 2 + 20
    }),
];
const BACKGROUNDS: [&str; 2] = ["in the snow", "on the grass"];
const THINGS: [&str; 25] = [
    "ball",
    "balloon",
    "bear",
    "bicycle",
    "boat",
    "bunny",
    "bus",
    "cake",
    "car",
    "castle",
    "cat",
    "dog",
    "frog",
    "house",
    "lion",
    "motorcycle",
    "mushroom",
    "panda",
    "rocket",
    "squirrel",
    "tractor",
    "train",
    "umbrella",
    "cactus",
    "apple",
];

/// The share of `every`-th of 100 prompts in which the peak of the thing's map lies on the thing: on a
/// cell that shows its colour.
fn pointing(every: usize, steps: Option<usize>) -> f64 {
    let folder = ModelFolder::open("storybook").unwrap();
    let model = folder.load().unwrap();
    let prompts = COLOURS.iter().flat_map(|colour| {
        let things = THINGS
            .iter()
            .flat_map(|thing| BACKGROUNDS.map(|place| (thing, place)));
        things.map(move |(thing, place)| (colour, *thing, place))
    });
    let mut hits = vec![];
    for (i, ((colour, shows), thing, place)) in prompts.enumerate().step_by(every) {
        let job = Job {
            seed: i as u64,
            steps,
            ..Job::new(&format!("a {colour} {thing} {place}"), vec![])
        };
        let spec = MapSpec {
            words: vec![thing.into()],
            ..MapSpec::default()
        };
        let (outcome, heatmaps) = look(&folder, &model, &job, &spec);
        let (grid, picture) = (&heatmaps[0].grid, &outcome.pictures[0].image);
        let cells = 0..grid.values.len();
        let peak = cells.max_by(|a, b| grid.values[*a].total_cmp(&grid.values[*b]));
        let (x, y) = (peak.unwrap() % 16 * 8, peak.unwrap() / 16 * 8);
        let cell = (0..64).map(|i| picture.get_pixel((x + i % 8) as u32, (y + i / 8) as u32).0);
        let hit = cell.into_iter().any(shows);
        let share = picture.pixels().filter(|p| shows(p.0)).count() as f64 / (128.0 * 128.0);
        println!("{}: {hit}, the thing takes {share:.2}", job.src);
        hits.push(f64::from(u8::from(hit)));
    }
    hits.iter().sum::<f64>() / hits.len() as f64
}

#[test]
fn maps_point_at_what_they_name() {
    let share = pointing(13, Some(12));
    assert!(share >= 0.8, "{share}");
}

/// The figure in the README.
#[test]
#[ignore = "100 pictures: some minutes"]
fn maps_of_a_hundred_prompts_point_at_what_they_name() {
    let share = pointing(1, None);
    println!("{share} of 100");
    assert!(share >= 0.8, "{share}");
}
